"""An answer that makes no sense is no answer: what reads it must not end the desk."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from mm.errors import VenueUnreachable

QUERIES: Final = (
    "open_orders", "order", "position", "fills", "funding", "fees", "server_time_ns", "set_leverage", "cancel_all",
    "connect",
)  # fmt: skip
_NONSENSE: Final = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, msgspec.MsgspecError)

C = TypeVar("C", bound=type)


def readable(client: C) -> C:
    """A trading client whose queries raise ``VenueUnreachable`` for an answer they cannot read, never anything else."""
    for name in QUERIES:
        setattr(client, name, _guarded(client.__name__, getattr(client, name)))
    return client


def _guarded(owner: str, query: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(query)
    async def ask(*args: Any, **kwargs: Any) -> Any:
        try:
            return await query(*args, **kwargs)
        except _NONSENSE as exc:
            name = getattr(query, "__name__", "query")
            raise VenueUnreachable(f"{owner}.{name}: an answer that cannot be read: {type(exc).__name__}") from exc

    return ask
