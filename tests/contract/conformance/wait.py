"""Waiting for something, with a limit and with words for the failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

LIMIT_S = 8.0  # of one wait: the machine may be busy


async def until(condition: Callable[[], Any], what: str | Callable[[], str] = "", limit_s: float = 0.0) -> Any:
    """Wait until ``condition`` is true and return it; fails with what was waited for."""
    limit_s = limit_s or LIMIT_S
    end_s = time.monotonic() + limit_s
    while not (value := condition()):
        if time.monotonic() > end_s:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what if isinstance(what, str) else what()}")
        await asyncio.sleep(0.002)
    return value
