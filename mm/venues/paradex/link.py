"""What both clients of Paradex have: addresses, a REST client made when it is first needed, one socket."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mm.errors import VenueUnreachable
from mm.venues.base import OnFrame
from mm.venues.settings import Endpoints

if TYPE_CHECKING:  # the library takes two seconds and 130 MB: only whoever connects loads it
    from mm.venues.paradex.rest import Rest
    from mm.venues.paradex.socket import Socket


class Refusal(Exception):
    """An answer over the WebSocket that says no: nothing was done."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Link:
    """See the module."""

    def __init__(self, where: Endpoints, keys: Mapping[str, str], proxy: str, timeout_s: float, stall_s: float) -> None:
        self._where = where
        self._keys = keys
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._stall_s = stall_s
        self._made: Rest | None = None
        self._socket: Socket | None = None
        self._life = 0  # grows with every ``close``: what was being connected meanwhile is not wanted any more

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._where.rest})"

    async def _rest(self) -> Rest:
        if self._made is None:
            self._made = await asyncio.to_thread(self._make_rest)
        return self._made

    def _make_rest(self) -> Rest:
        import mm.venues.paradex.socket  # noqa: F401  the slow part, in this thread
        from mm.venues.paradex.rest import Rest

        return Rest(f"{self._where.rest}/v1", self._keys, self._proxy, self._timeout_s)

    def _make_socket(self, on_frame: OnFrame, *, binary: bool, silence_s: float = 0.0) -> Socket:
        from mm.venues.paradex.socket import Socket

        return Socket(
            f"{self._where.ws}/v1", on_frame, binary=binary, proxy=self._proxy, timeout_s=self._timeout_s,
            stall_s=self._stall_s, silence_s=silence_s,
        )  # fmt: skip

    def _open_socket(self) -> Socket:
        socket = self._socket
        if socket is None or socket.ended.done():
            why = socket.ended.result() if socket is not None else "not connected; connect first"
            raise VenueUnreachable(f"paradex: {why}")
        return socket

    async def server_time_ns(self) -> int:
        """The venue's clock."""
        return await (await self._rest()).server_time_ns()

    async def _drop_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.shut()

    def _check_life(self, life: int) -> None:
        if self._life != life:
            raise VenueUnreachable("paradex: closed while connecting")

    async def close(self) -> None:
        """End the connection and the threads."""
        self._life += 1
        await self._drop_socket()
        made, self._made = self._made, None
        if made is not None:
            made.close()
