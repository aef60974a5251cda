"""Plain Python (NUMBA_DISABLE_JIT=1) is a hundred times slower and is run for its line coverage: less of it will do."""

import os
from typing import TypeVar

T = TypeVar("T")

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def unless_plain(compiled: T, plain: T) -> T:
    """``compiled`` with compiled kernels, ``plain`` without."""
    return plain if PLAIN else compiled
