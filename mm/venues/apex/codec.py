"""Frames of ApeX Omni to event and execution records. Pure: no socket, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mm.core.instrument import Instrument
from mm.venues import replies
from mm.venues.apex import wire
from mm.venues.apex.market import MarketDecoder
from mm.venues.apex.orders import AccountDecoder
from mm.venues.base import Decoded
from mm.venues.rows import number_in

_BAD: Final = (*wire.DECODE_ERRORS, ValueError)


class ApexCodec:
    """``instruments``: their order gives the instrument index of the records; ``prefix``: of our client order ids."""

    def __init__(self, instruments: Sequence[Instrument], prefix: str = "") -> None:
        self._prefix = prefix
        self._market = MarketDecoder(instruments)
        self._account = AccountDecoder(instruments, self.own_id)

    def reset(self) -> None:
        """A new connection: the next book frame must be a snapshot."""
        self._market.reset()

    def decode_public(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Market events of one frame. After a gap an instrument is silent until its next snapshot."""
        try:
            frame = wire.decode_frame(raw)
            return self._market.decode(frame, ts_recv_ns) if frame.topic else _control(frame)
        except _BAD as exc:
            return Decoded(error=f"bad frame: {exc}"[:300])

    def decode_private(self, raw: bytes, ts_recv_ns: int) -> Decoded:
        """Execution reports and news of one frame, or of the answer to one of our requests."""
        try:
            reply = replies.parse(raw)
            if reply is not None:
                return self._account.reply(reply, ts_recv_ns)
            frame = wire.decode_frame(raw)
            if frame.topic == wire.ACCOUNT_TOPIC:
                contents = wire.decode_contents(frame.contents)
                return self._account.push(contents, frame.type, frame.timestamp * 1_000_000, ts_recv_ns)
            return Decoded() if frame.topic else _control(frame)  # notices for people come on topics of their own
        except _BAD as exc:
            return Decoded(error=f"bad frame: {exc}"[:300])

    def own_id(self, client_order_id: str) -> int:
        """The number in a client order id, -1 when it is not one of ours."""
        return number_in(client_order_id, self._prefix)


def _control(frame: wire.Frame) -> Decoded:
    """An answer to login, subscribe or ping; only a refusal says anything."""
    if str(frame.success).lower() == "false" and "already subscribed" not in frame.ret_msg:
        return Decoded(error=f"refused: {frame.ret_msg[:200]}")
    return Decoded()
