"""Sets of small integers as the bits of one 64-bit word."""

from __future__ import annotations

from typing import Any

import numba
from numba.core import cgutils, types
from numba.extending import intrinsic

if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]

    def lowest_bit(mask: int) -> int:
        """Index of the lowest set bit; ``mask`` must not be 0."""
        m = int(mask) & 0xFFFF_FFFF_FFFF_FFFF
        return (m & -m).bit_length() - 1
else:

    @intrinsic
    def lowest_bit(typingctx: Any, mask: Any) -> Any:  # noqa: ARG001 - numba's protocol
        """Index of the lowest set bit; ``mask`` must not be 0."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            return builder.cttz(args[0], cgutils.false_bit)

        return types.int64(types.int64), codegen
