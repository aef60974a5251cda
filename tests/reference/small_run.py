"""A live run without sockets, processes and clocks: the real exchange, codec, kernel and recorders in one loop.

Every message takes a time drawn from a seeded generator, as on a machine; the folder it leaves is a run's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from actors.account import Account
from actors.base import DeskSpec
from actors.exchanges import exchange_spec
from actors.executor_book import Book
from actors.home import write_json
from actors.recorder import QuoterRecorder, RawRecorder
from actors.transport import EVENTS, EXECS, FEED_STATE, QUOTER, SYNC, Message
from actors.wire import pack_execs
from mm.config.schema import RunConfig
from mm.core.jit import source_hash
from mm.core.types import PLACE
from mm.sandbox.background import make_background
from mm.sandbox.exchange import Exchange
from mm.strategy.executor_core import Command, read_commands
from mm.strategy.orders import client_order_id
from mm.venues.native import wire
from mm.venues.native.codec import NativeCodec

T0 = 1_800_000_000_000_000_000
MS = 1_000_000
SYMBOL = "BTC-USDT"
PREFIX = "small"


class SmallRun:
    """One venue, one instrument. ``play`` runs it; ``quoter_life`` and ``feed_life`` begin new ones in between."""

    def __init__(self, run_dir: Path, cfg: RunConfig, seed: int = 7) -> None:
        self.dir, self.cfg = run_dir, cfg
        spec = exchange_spec(cfg.live.venues[0], "token-of-the-desk")
        self.exchange = Exchange(spec)
        self.account = next(iter(self.exchange.accounts.values()))
        self.flow = make_background(spec.parsed_instruments()[0], spec.background[SYMBOL])
        self.desk = DeskSpec(
            run_id=run_dir.name, desk=cfg.name, run_dir=str(run_dir), log_dir="", home="", prefix=PREFIX,
            config=cfg.model_dump(mode="json"), instruments=spec.instruments,
        )  # fmt: skip
        write_json(run_dir / "config.json", {"source": "", "config": self.desk.config})
        self.codec = NativeCodec(self.desk.parsed_instruments, PREFIX)
        self.rng = np.random.default_rng(seed)
        self.now = T0
        self.flow.begin(T0)
        self.book = Book(self.desk, 10**10, 10**10)
        self.book.open_session([], [], T0)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._number = count()
        self._last: dict[str, int] = {}
        self._feed_seq = self._exec_seq = 0
        self.waiting: list[Message] = []
        self.orders_seen = 0
        self._awake = False
        self.quoter_life()
        self.feed_life()

    # --- time --------------------------------------------------------------------------------------------------------
    def _later(self, line: str, median_ms: float, what: Callable[[], None]) -> None:
        """After a random delay, and not before what was sent on the same line earlier."""
        at = self.now + int(median_ms * MS * float(np.exp(self.rng.normal(0.0, 0.5))))
        at = self._last[line] = max(at, self._last.get(line, 0) + 1)
        heapq.heappush(self._due, (at, next(self._number), what))

    def play(self, seconds: float) -> None:
        end = self.now + int(seconds * 1e9)
        self._tick(end)
        while self._due and self._due[0][0] <= end:
            at, _, what = heapq.heappop(self._due)
            self.now = max(self.now + 1, at)  # one exchange, one clock: no two things at once
            what()
        self.now = end

    def _tick(self, end: int) -> None:
        """The background, a millisecond at a time."""
        self._background(self.flow.due(self.now, 2_000))
        self._publish()
        if self.now + MS <= end:
            heapq.heappush(self._due, (self.now + MS, next(self._number), lambda: self._tick(end)))

    def _background(self, rows: list[tuple[int, int, int]]) -> None:
        self.exchange.background(SYMBOL, rows, self.now)

    def close(self) -> None:
        self.raw.close()
        self.record.close()
        self.book.close()

    # --- lives -------------------------------------------------------------------------------------------------------
    def quoter_life(self) -> None:
        """A quoter begins, as after a restart: it knows nothing."""
        self.quoter = Account(self.desk, QUOTER, None, None, own_in_feed=True)  # type: ignore[arg-type]
        head = {"code": source_hash(without="report"), "instruments": self.desk.instruments}
        self.record = QuoterRecorder(self.dir, "sandbox", head)

    def feed_life(self) -> None:
        """A feed begins: subscribes, and receives a snapshot."""
        self.raw = RawRecorder(self.dir / "raw" / "sandbox.bin")
        self.codec.reset()
        self.raw.connection(self.now)
        self._feed_seq = 0
        self._state(void=True)
        snapshot = self.exchange.markets[SYMBOL].snapshot(self.now)
        self._later("public", 0.4, lambda: self._frame(msgspec.json.encode(snapshot)))

    # --- exchange ----------------------------------------------------------------------------------------------------
    def _publish(self) -> None:
        self.now += 1
        public = self.exchange.flush(self.now)
        private, self.exchange.outbox = self.exchange.outbox, []
        for _, message in private:
            raw = msgspec.json.encode(message)
            self._later("private", 0.3, lambda raw=raw: self._report(raw))
        for _, message in public:
            raw = msgspec.json.encode(message)
            self._later("public", 0.3, lambda raw=raw: self._frame(raw))

    def _arrive(self, commands: list[Command]) -> None:
        instrument = self.book.instruments[0]
        for c in commands:
            cid = client_order_id(PREFIX, c.id)
            self.now += 1
            if c.op == PLACE:
                side, px, qty = wire.SIDE_NAME[c.side], instrument.price(c.tick), instrument.size(c.lots)
                request = wire.Place(
                    symbol=SYMBOL, cid=cid, side=side, px=format(px, "f"), qty=format(qty, "f"), post_only=True
                )
                self.exchange.place(self.account, request, self.now)
            else:
                self.exchange.cancel(self.account, cid, self.now, SYMBOL)
        self._publish()

    # --- feed, executor ----------------------------------------------------------------------------------------------
    def _frame(self, raw: bytes) -> None:
        self.raw.frame(raw, self.now)
        events = self.codec.decode_public(raw, self.now).events
        if len(events):
            void = self._void
            self._message(EVENTS, events.tobytes(), b=self.raw.number & 0xFFFF)
            if void:
                self._state(void=False)

    def _state(self, *, void: bool) -> None:
        self._void = void
        self._message(FEED_STATE, a=int(void))

    def _report(self, raw: bytes) -> None:
        decoded = self.codec.decode_private(raw, self.now)
        if len(decoded.execs):
            execs = decoded.execs.view(np.recarray)
            self.book.execution(execs[0], decoded.exec_detail[0])
            self._message(EXECS, pack_execs(execs, [decoded.exec_detail[0].fee]))

    def sync(self) -> None:
        self._message(SYNC, self.book.core.sync(), b=1)

    # --- quoter ------------------------------------------------------------------------------------------------------
    def _message(self, kind: int, payload: bytes = b"", *, a: int = 0, b: int = 0) -> None:
        if kind in (EVENTS, FEED_STATE):
            self._feed_seq += 1
            seq = self._feed_seq
        else:
            self._exec_seq += 1
            seq = self._exec_seq
        m = Message(kind, a, b, seq, 0, self.now, payload)
        self._later("feed" if kind in (EVENTS, FEED_STATE) else "reports", 0.1, lambda: self._arrived(m))

    def _arrived(self, m: Message) -> None:
        self.waiting.append(m)
        if not self._awake:
            self._awake = True
            self._later("quoter", 0.05, self._turn)

    def _turn(self) -> None:
        """What ``actors.quoter`` does with all that waits."""
        self._awake = False
        batch, self.waiting = self.waiting, []
        account = self.quoter
        account.take(batch)
        commands = None
        if account.news and account.synced:
            commands = account.q.decide(self.now, account.stale(self.now))
        self.record.take(batch)
        if commands is not None:
            self.record.decide(account.decision_rows(self.now, self.record.messages, len(commands)), commands.tobytes())
            passed = read_commands(commands.tobytes())
            if passed:
                self.book.intents(passed, self.now)
                self._later("orders", 0.8, lambda: self._arrive(passed))
        if not account.synced and account.books_ready():
            self.sync()


def small_run(run_dir: Path, cfg: RunConfig, seconds: float, seed: int = 7) -> SmallRun:
    """A whole run; returns it closed."""
    run = SmallRun(run_dir, cfg, seed)
    run.play(seconds)
    run.close()
    return run


def quick_config(**overrides: Any) -> RunConfig:
    """Quotes near the touch, so that seconds bring fills."""
    model = {"name": "glft_asymptotic", "gamma": {"q_max": 5}, "kappa": "5/bps", "A": 3.0}
    model |= {"sigma": {"halflife": "60s", "sample": "100ms"}} | overrides
    return RunConfig.model_validate({
        "name": "small",
        "strategy": {
            "model": model, "order_size": "200 usd",
            "spread": {"min": "0.2 bps", "max": "50 bps", "max_skew": "25 bps"},
            "requote": {"threshold": "2 ticks", "min_age": "100ms", "max_age": "30s"},
        },
        "risk": {"max_position": "2000 usd", "max_notional_usd": 5000},
        "sim": {"maker_fee": "0 bps"},
        "live": {"venues": [{"name": "sandbox", "exchange": {"maker_fee": "0%"}}]},
    })  # fmt: skip
