"""How many examples a costly property test looks at.

Plain Python (NUMBA_DISABLE_JIT=1) is a hundred times slower and is run for its line coverage: few will do.
RAYMAKER_EXAMPLES asks for another number, to search for hours.
"""

import os

PLAIN = os.environ.get("NUMBA_DISABLE_JIT") == "1"


def examples(compiled: int, plain: int) -> int:
    """``compiled`` with compiled kernels, ``plain`` without, unless the environment says otherwise."""
    return int(os.environ.get("RAYMAKER_EXAMPLES") or (plain if PLAIN else compiled))
