"""What can go wrong on a venue's wire, on purpose. Everything is off by default."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mm.errors import ConfigError

Count = Annotated[int, msgspec.Meta(ge=0)]  # the next so many; counts down
Wait = Annotated[float, msgspec.Meta(ge=0, le=3600)]


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Faults of one face. Order requests are those that place, amend or cancel."""

    # --- requests
    rest_down: bool = False  # the connection of every request is aborted
    maintenance: bool = False  # every request is answered as the venue does under maintenance
    rate_limited: Count = 0  # requests answered "too many"
    ack_delay_s: Wait = 0.0  # order requests are executed at once and answered later
    request_delay_s: Wait = 0.0  # order requests reach the exchange later
    ack_lost: Count = 0  # order requests that are executed and whose connection is then aborted
    error_after_accept: Count = 0  # order requests that are executed and answered 502
    # --- sockets
    ws_down: bool = False  # no new socket, and the open ones are aborted
    stall_public: bool = False  # sockets stay open and say nothing
    stall_private: bool = False
    lose_public: Count = 0  # public messages that vanish: a sequence gap
    lose_private: Count = 0
    duplicate_public: Count = 0  # public messages sent twice
    duplicate_private: Count = 0
    swap_public: Count = 0  # pairs of public messages sent in the wrong order
    no_pong: bool = False
    # --- time and access
    clock_skew_s: Annotated[float, msgspec.Meta(ge=-3600, le=3600)] = 0.0  # the exchange's clock against ours
    token_life_s: Wait = 0.0  # of access tokens given out from now on; 0: the venue's own

    def change(self, changes: dict[str, Any]) -> None:
        """Set some of them; raises ``ConfigError`` that names the field."""
        try:
            new = msgspec.convert(msgspec.to_builtins(self) | changes, Faults)
        except msgspec.ValidationError as exc:
            raise ConfigError(f"faults: {exc}; there are {', '.join(self.__struct_fields__)}") from exc
        for name in self.__struct_fields__:
            setattr(self, name, getattr(new, name))

    def take(self, name: str) -> bool:
        """Whether one of a counted fault is due; it is used up."""
        left: int = getattr(self, name)
        if left:
            setattr(self, name, left - 1)
        return bool(left)
