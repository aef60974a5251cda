"""The one place where numba is configured: ``@kernel``, compiled once per machine and per source state.

numba keys its on-disk cache by the file that holds a function, so a caller keeps using a stale callee that lives in
another file. We key the cache *directory* by a hash of every source file of ``mm`` instead: any edit gives a fresh
directory, and a warm start loads machine code in milliseconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

KEEP_S = 14 * 86_400.0  # caches of other source states
_PACKAGE = Path(__file__).resolve().parents[1]


def source_hash(root: Path = _PACKAGE, *, without: str = "") -> str:
    """Hash of all ``*.py`` below ``root`` (names and contents), 16 hex digits; ``without`` one folder of it."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if without and path.is_relative_to(root / without):
            continue
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_dir() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # pictures and tables hold no kernel; numba keeps the kernels of another checkout apart, and so must our notes there
    checkout = hashlib.sha256(str(_PACKAGE).encode()).hexdigest()[:8]
    path = base / "raymaker" / "numba" / f"{source_hash(without='report')}-{checkout}"
    try:
        if not path.exists():
            path.mkdir(parents=True, exist_ok=True)
            forget_old(path.parent, path.stat().st_mtime - KEEP_S)
        if not os.access(path, os.W_OK):
            raise PermissionError(path)
    except OSError:  # a read-only home: kernels still compile, the cache lives in the temporary directory
        path = Path(tempfile.gettempdir()) / f"raymaker-numba-{os.getuid()}" / path.name
        path.mkdir(parents=True, exist_ok=True)
    return path


def forget_old(folder: Path, before_s: float) -> None:
    """Remove the caches of other source states (some 17 MB each) in which nothing was compiled since ``before_s``."""
    for cache in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may be removing it too
            if cache.is_dir() and cache.stat().st_mtime < before_s:
                shutil.rmtree(cache, ignore_errors=True)


if not os.environ.get("NUMBA_CACHE_DIR"):
    numba.config.CACHE_DIR = str(_cache_dir())  # type: ignore[attr-defined]  # numba sets its options at run time


def bare(records: Any) -> Any:
    """The same records as a plain array, for a kernel's argument.

    numba looks at a recarray about 3 µs longer than at a plain array, at every call; the plain Python of
    ``NUMBA_DISABLE_JIT=1`` needs the recarray. Both are the same type to a compiled kernel.
    """
    return records.view(np.recarray if numba.config.DISABLE_JIT else np.ndarray)  # type: ignore[attr-defined]


def kernel(fn: F) -> F:
    """Compile ``fn`` in nopython mode, without the GIL, cached on disk.

    ``error_model="numpy"``: a division by zero gives inf or nan, as in numpy, and costs no branch. A kernel takes
    floats, integers, arrays and record arrays, never objects, so that it also runs as plain Python with
    ``NUMBA_DISABLE_JIT=1`` (that is how its coverage is counted).
    """
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(fn))


def hot_kernel(fn: F) -> F:
    """As ``kernel``, for code that runs per event and allocates nothing: compiled without array reference counting.

    Counting references of arrays that are only passed on costs more than the work itself (four fifths of a replay's
    time). numba then rejects any allocation, slice or call of a plain ``kernel`` at compile time.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
    return cast(F, numba.njit(**options)(fn))


def inline_kernel(fn: F) -> F:
    """As ``hot_kernel``, pasted into its callers by the compiler: for small steps that take many arrays."""
    options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
    return cast(F, numba.njit(forceinline=True, **options)(fn))
