"""Paradex's public channels: whole book then changes, 15-level snapshots, trades, best prices, mark price, funding.

Names as the venue takes them: ``order_book.M.deltas`` has no parameters, ``order_book.M.snapshot@15@100ms`` has them,
and a socket follows one book channel per market.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from mm.sandbox.face import Face, Frame, Session
from mm.sandbox.faces import paradex_wire as out
from mm.venues.native import wire

DEPTH: Final = 15
SUMMARY_NS: Final = 1_000_000_000
_CHANNEL: Final = re.compile(
    r"(?P<kind>order_book|bbo|trades|markets_summary|funding_data)(\.(?P<market>[A-Z0-9-]+)(\.(?P<feed>.+))?)?"
)
_SNAPSHOT: Final = re.compile(r"snapshot@15@(50|100)ms")
_KEPT_TRADES: Final = 1_000
_MS: Final = 1_000_000

Make = Callable[[], Frame]


class NoChannel(Exception):
    """A subscription that the venue refuses; the text is the ``data`` of the error."""


class PublicChannels:
    """Market data of one face. Topics of a session are ``sbe:`` or ``json:`` and the channel's name."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self._symbols = [i.symbol for i in face.exchange.instruments]
        self._index: defaultdict[str, Decimal] = defaultdict(Decimal)  # accrued funding of one unit
        self._rate: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._recent: defaultdict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=_KEPT_TRADES))
        self._touch: dict[str, tuple[wire.Level | None, wire.Level | None]] = {}
        self._changed: set[str] = set()  # books since their last 15-level snapshot
        self._snapshot_ns: dict[str, int] = {}
        self._summary_ns = 0
        self._summaries = 0

    # --- what is known -----------------------------------------------------------------------------------------------
    def mark(self, symbol: str) -> Decimal:
        """Mark price, 0 when there is none yet."""
        market = self._face.exchange.market(symbol)
        return Decimal(0) if market.mark is None else market.instrument.price(market.mark)

    def index(self, symbol: str) -> Decimal:
        """Funding that one unit has paid so far."""
        return self._index[symbol]

    def touch(self, symbol: str) -> tuple[wire.Level | None, wire.Level | None]:
        """Best bid and ask."""
        market = self._face.exchange.market(symbol)
        engine, units = market.engine, market.units
        bid, ask = engine.best_bid, engine.best_ask
        return (
            None if bid is None else (units.price(bid), units.size(engine.level_qty(1, bid))),
            None if ask is None else (units.price(ask), units.size(engine.level_qty(-1, ask))),
        )

    def bbo(self, symbol: str) -> dict[str, Any]:
        """GET /bbo and the channel of that name."""
        bid, ask = self.touch(symbol)
        return {
            "market": symbol, "seq_no": self._face.exchange.market(symbol).seq,
            "last_updated_at": self._face.now_ns() // _MS,
            "bid": bid[0] if bid else "", "bid_size": bid[1] if bid else "", "ask": ask[0] if ask else "",
            "ask_size": ask[1] if ask else "",
        }  # fmt: skip

    def summary(self, symbol: str) -> dict[str, Any]:
        """GET /markets/summary and the channel of that name."""
        bid, ask = self.touch(symbol)
        mark, last = out.text(self.mark(symbol)), self._recent[symbol]
        return {
            "symbol": symbol, "bid": bid[0] if bid else "", "ask": ask[0] if ask else "", "mark_price": mark,
            "underlying_price": mark, "last_traded_price": last[-1]["price"] if last else mark,
            "funding_rate": out.text(self._rate[symbol]), "open_interest": "0", "volume_24h": "0",
            "total_volume": "0", "price_change_rate_24h": "0", "created_at": self._face.now_ns() // _MS,
        }  # fmt: skip

    def funding(self, symbol: str) -> dict[str, Any]:
        """GET /funding/data and the channel of that name."""
        rate = out.text(self._rate[symbol])
        return {
            "market": symbol, "funding_index": out.text(self._index[symbol]), "funding_premium": "0",
            "funding_rate": rate, "funding_rate_8h": rate, "funding_period_hours": 8,
            "created_at": self._face.now_ns() // _MS,
        }  # fmt: skip

    def recent(self, symbol: str) -> list[Any]:
        """The newest trades first."""
        return list(self._recent[symbol])[:-101:-1]

    # --- subscriptions -----------------------------------------------------------------------------------------------
    def subscribe(self, session: Session, channel: str) -> None:
        """Add a channel and send its first frame; raises ``NoChannel``."""
        match = _CHANNEL.fullmatch(channel)
        if match is None:
            raise NoChannel(f"channel {channel!r} is not known")
        kind, market, feed = match["kind"], match["market"], match["feed"]
        everything = kind == "markets_summary" and market in (None, "ALL")
        if not everything and market not in self._symbols:
            raise NoChannel(f"market {market!r} is not known")
        if kind == "order_book":
            self._check_book(session, channel, market, feed or "")
        elif feed is not None:
            raise NoChannel(f"no parameters expected for {kind} topic.")
        topic = f"{_encoding(session)}:{channel}"
        if topic in session.topics:
            raise NoChannel("already subscribed")
        session.topics.add(topic)
        if self._face.faults.stall_public:
            return
        if kind == "order_book":
            session.send(self._whole_book(market, channel, session, None if feed == "deltas" else DEPTH))
        elif kind == "bbo":
            session.send(self._bbo_frame(market, _version(session)))
        elif kind == "markets_summary":
            for symbol in self._symbols if everything else [market]:
                session.send(self._summary_frame(symbol, channel, _version(session)))
        elif kind == "funding_data":
            session.send(self._funding_frame(market, _version(session)))

    def unsubscribe(self, session: Session, channel: str) -> None:
        """Drop a channel; raises ``NoChannel``."""
        topic = f"{_encoding(session)}:{channel}"
        if topic not in session.topics:
            raise NoChannel("not subscribed")
        session.topics.discard(topic)

    @staticmethod
    def _check_book(session: Session, channel: str, market: str, feed: str) -> None:
        if feed != "deltas":
            if feed.startswith("deltas"):
                raise NoChannel("no parameters expected for deltas topic.")
            if _SNAPSHOT.fullmatch(feed) is None:
                raise NoChannel(f"feed {feed!r} is not known")
        head = f"{_encoding(session)}:order_book.{market}."
        other = next((t for t in session.topics if t.startswith(head) and not t.endswith(channel)), "")
        if other and session.state.get("sbe") is not None:
            raise NoChannel(f"channel {channel!r} cannot share an SBE session with {other.partition(':')[2]!r}")

    # --- what happens ------------------------------------------------------------------------------------------------
    def say(self, symbol: str, message: wire.Message) -> None:
        """News of the exchange to whoever follows."""
        match message:
            case wire.Depth():
                self._changed.add(symbol)
                self._depth(symbol, message)
            case wire.Trades():
                for trade in message.trades:
                    self._trade(symbol, trade, message.ts)
            case wire.Mark():
                self._send_summary(symbol)
            case wire.Funding():
                rate = Decimal(message.rate)
                self._rate[symbol] = rate
                self._index[symbol] += rate * Decimal(message.mark)
                self._send_summary(symbol)
                self._send_funding(symbol)

    def tick(self, now_ns: int) -> None:
        """Snapshots ten times a second, summaries and funding once."""
        for symbol in list(self._changed):
            if now_ns - self._snapshot_ns.get(symbol, 0) >= 100 * _MS:
                self._changed.discard(symbol)
                self._snapshot_ns[symbol] = now_ns
                self._send_snapshots(symbol)
        if now_ns - self._summary_ns >= SUMMARY_NS:
            self._summary_ns = now_ns
            for symbol in self._symbols:
                self._send_summary(symbol)
                self._send_funding(symbol)

    def _trade(self, symbol: str, trade: wire.Trade, ts: int) -> None:
        row = out.trade_json(symbol, trade, ts)
        self._recent[symbol].append(row)
        self._broadcast(
            f"trades.{symbol}",
            lambda v: out.sbe_trade(symbol, trade, ts, v),
            lambda c: out.channel_frame(c, row),
        )

    def _depth(self, symbol: str, m: wire.Depth) -> None:
        topics = {topic.partition(":")[2] for session in self._face.sessions for topic in session.topics}
        if topics.isdisjoint((f"order_book.{symbol}.deltas", f"bbo.{symbol}")):
            return
        touch = self.touch(symbol)
        self._broadcast(
            f"order_book.{symbol}.deltas",
            lambda v: out.sbe_book(symbol, m.seq, m.ts, False, m.bids, m.asks, touch, v),
            lambda c: out.channel_frame(c, out.book_json(symbol, m.seq, m.ts, m.bids, m.asks, "d")),
        )
        if touch != self._touch.get(symbol):
            self._touch[symbol] = touch
            self._each(f"bbo.{symbol}", lambda _c, v: self._bbo_frame(symbol, v))

    def _send_snapshots(self, symbol: str) -> None:
        for rate in ("50ms", "100ms"):
            channel = f"order_book.{symbol}.snapshot@{DEPTH}@{rate}"
            for session in self._followers(channel):
                session.send(self._whole_book(symbol, channel, session, DEPTH))

    def _send_summary(self, symbol: str) -> None:
        for channel in (f"markets_summary.{symbol}", "markets_summary.ALL", "markets_summary"):
            self._each(channel, lambda c, v: self._summary_frame(symbol, c, v))

    def _send_funding(self, symbol: str) -> None:
        self._each(f"funding_data.{symbol}", lambda _c, v: self._funding_frame(symbol, v))

    def _broadcast(self, channel: str, binary: Callable[[int], bytes], text: Callable[[str], str]) -> None:
        """A frame whose loss the follower notices or survives: the faults of public messages apply."""
        followers = self._followers(channel)
        if any(_version(s) is None for s in followers):
            self._face.broadcast(f"json:{channel}", text(channel))
        if any(_version(s) is not None for s in followers):
            self._face.broadcast(f"sbe:{channel}", binary(out.MAX_VERSION))

    def _each(self, channel: str, make: Callable[[str, int | None], Frame]) -> None:
        """A periodic frame."""
        for session in self._followers(channel):
            session.send(make(channel, _version(session)))

    def _followers(self, channel: str) -> list[Session]:
        if self._face.faults.stall_public:
            return []
        names = {f"sbe:{channel}", f"json:{channel}"}
        return [s for s in self._face.sessions if not names.isdisjoint(s.topics)]

    # --- frames ------------------------------------------------------------------------------------------------------
    def _whole_book(self, symbol: str, channel: str, session: Session, depth: int | None) -> Frame:
        snapshot = self._face.exchange.market(symbol).snapshot(self._face.now_ns())
        bids, asks, version = snapshot.bids[:depth], snapshot.asks[:depth], _version(session)
        if version is None:
            return out.channel_frame(channel, out.book_json(symbol, snapshot.seq, snapshot.ts, bids, asks, "s"))
        touch = (bids[0] if bids else None, asks[0] if asks else None)
        return out.sbe_book(symbol, snapshot.seq, snapshot.ts, True, bids, asks, touch, version)

    def _bbo_frame(self, symbol: str, version: int | None) -> Frame:
        if version is None:
            return out.channel_frame(f"bbo.{symbol}", self.bbo(symbol))
        seq = self._face.exchange.market(symbol).seq
        return out.sbe_bbo(symbol, seq, self._face.now_ns(), *self.touch(symbol), version)

    def _summary_frame(self, symbol: str, channel: str, version: int | None) -> Frame:
        if version is None:
            return out.channel_frame(channel, self.summary(symbol))
        self._summaries += 1
        bid, ask = self.touch(symbol)
        mark, rate = self.mark(symbol), self._rate[symbol]
        return out.sbe_summary(symbol, self._summaries, self._face.now_ns(), mark, rate, bid, ask, version)

    def _funding_frame(self, symbol: str, version: int | None) -> Frame:
        if version is None:
            return out.channel_frame(f"funding_data.{symbol}", self.funding(symbol))
        now_ns = self._face.now_ns()
        return out.sbe_funding(symbol, now_ns // 1000, now_ns, self._rate[symbol], self._index[symbol], version)


def _version(session: Session) -> int | None:
    """Version of the SBE schema that a session asked for, None for JSON."""
    version: int | None = session.state.get("sbe")
    return version


def _encoding(session: Session) -> str:
    return "json" if _version(session) is None else "sbe"
