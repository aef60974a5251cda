"""Say it when a command is about to compile: the first run of every version takes a minute that looks like a hang."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numba

import mm.core.jit  # noqa: F401  sets numba's cache directory

SIMULATION: Final = "sim-path"
LIVE: Final = "live-path"  # written by the desk itself
SANDBOX: Final = "sandbox-path"
NOTE: Final = "first run of this version: compiling the kernels, a minute or so; the next run loads them"


@contextmanager
def first_run(path: str, say: Callable[[str], None]) -> Iterator[bool]:
    """``say`` the note unless a run over the same code path has ended well before; remembers that this one did.

    Yields whether kernels are to be compiled.
    """
    cache = str(numba.config.CACHE_DIR)  # type: ignore[attr-defined]  # numba sets its options at run time
    mark = Path(cache) / path
    if not cache or numba.config.DISABLE_JIT or mark.exists():  # type: ignore[attr-defined]
        yield False
        return
    say(NOTE)
    yield True
    if path != LIVE:
        with suppress(OSError):
            mark.touch()
