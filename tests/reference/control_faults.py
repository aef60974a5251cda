"""Every control, provoked by hand: what triggers it, what it then does, and that it lets go. The table of the docs.

``python -m tests.reference.control_faults`` writes the table into docs/controls.md; ``--check`` only compares.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from mm.core.types import BUY_SIDE, FILL, MARK, SELL_SIDE
from mm.strategy.controls.names import ACTS
from tests.reference.kernel_box import START_NS, Box

MID = 600_000
SECOND = 1_000_000_000
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
DOCS = Path(__file__).resolve().parents[2] / "docs" / "controls.md"


def base(controls, **more):
    """A strategy with these controls; 10 lots an order, no more than 100 lots."""
    model = {"name": "glft_asymptotic", "gamma": {"q_max": 5}, "kappa": "0.7/bp", "A": 0.8, "sigma": "0.7 bps/sqrt(s)"}
    strategy = {
        "model": model, "order_size": "10 lots", "controls": controls,
        "spread": {"min": "1 ticks", "max": "500 bps", "max_skew": "100 bps"},
    }  # fmt: skip
    strategy["model"] |= more.pop("model", {})
    strategy |= more.pop("strategy", {})
    sim = more.pop("sim", {})
    risk = {"max_position": "100000 lots", "max_notional_usd": 1e9, "initial_equity_usd": 1e6}
    return {"strategy": strategy, "risk": risk | more.pop("risk", {}), "sim": sim}


class Stage:
    """A box with a clock: seconds after the start."""

    def __init__(self, controls, **more):
        self.box = Box(base(controls, **more), own_in_feed=False)
        self.t = 0.0

    @property
    def now_ns(self):
        return START_NS + round(self.t * SECOND)

    def mid(self, offset=0, half=5, lots=100, wait=0.1):
        """A touch around MID + offset, ``wait`` seconds later."""
        self.t += wait
        tick = MID + offset
        self.box.book({tick - half: lots}, {tick + half: lots}, self.now_ns)
        return self

    def quiet(self, seconds, step=0.1):
        """The mid swings by a tick."""
        for k in range(round(seconds / step)):
            self.mid(k % 2, wait=step)
        return self

    def wait(self, seconds):
        self.t += seconds
        return self

    def fill(self, side, lots, tick=None):
        self.box.report(FILL, 0, side, MID - 5 * side if tick is None else tick, lots)
        return self

    def mark(self, tick):
        self.box.feed([(MARK, tick, 0)], self.now_ns)
        return self

    def quote(self, pos=0):
        """(Quote, names that acted)."""
        q = self.box.quote(pos, now_ns=self.now_ns)
        mask = int(self.box.r.target[0].acting)
        return q, {name for k, name in enumerate(ACTS) if mask >> k & 1}


@dataclass
class Fault:
    """One provocation. ``run`` yields (quote, acts) before, during and after it; ``holds`` judges the three quotes."""

    reason: str  # an act
    trigger: str
    action: str
    recovery: str
    run: object
    holds: object


FAULTS: list[Fault] = []


def fault(reason, trigger, action, recovery, holds):
    def add(run):
        FAULTS.append(Fault(reason, trigger, action, recovery, run, holds))
        return run

    return add


def no_bid(q):
    return q.bid_lots == 0 and q.ask_lots > 0


def no_ask(q):
    return q.ask_lots == 0 and q.bid_lots > 0


def none(q):
    return q.bid_lots == 0 and q.ask_lots == 0


def both(q):
    return q.bid_lots > 0 and q.ask_lots > 0


def width(q):
    return q.ask - q.bid


@fault(
    "tick_filter", "one tick 100 bps above the others", "ask pulled, bid from the last believed mid",
    "the next ordinary tick", lambda a, b, c: no_ask(b) and b.bid == a.bid and both(c),
)  # fmt: skip
def a_bad_tick():
    s = Stage({"tick_filter": {}}).quiet(3)
    yield s.quote()
    yield s.mid(6000).quote()
    yield s.mid(0).quote()


@fault(
    "tick_filter", "the market really moves 100 bps down", "bid pulled while it is one tick's word",
    "5 ticks that agree: re-anchored", lambda a, b, c: no_bid(b) and b.ask == a.ask and both(c) and c.ask < a.bid,
)  # fmt: skip
def a_true_jump():
    s = Stage({"tick_filter": {}}).quiet(3)
    yield s.mid(0).quote()
    yield s.mid(-6000).quote()
    for _ in range(4):
        s.mid(-6000)
    yield s.quote()


@fault(
    "soft_limit", "long 75 lots of a soft limit of 50 and a hard one of 100", "bid at half size",
    "inventory back below the soft limit", lambda a, b, c: b[2:4] == (5, 10) and c[2:4] == (10, 10),
)  # fmt: skip
def much_inventory():
    s = Stage({"inventory": {"soft": "50 lots"}}).mid()
    yield s.quote()
    yield s.quote(75)
    yield s.quote(40)


@fault(
    "soft_limit", "a position worth more than hard_usd at the current mid", "adding side not quoted",
    "the mid falls, or inventory does", lambda a, b, c: both(a) and no_bid(b) and both(c),
)  # fmt: skip
def much_money():
    s = Stage({"inventory": {"soft_usd": 2000, "hard_usd": 3000}}).mid()
    yield s.quote(20)
    yield s.quote(50)
    yield s.quote(20)


@fault(
    "cooldown", "5 orders bought in a row", "bid pulled, its resting order cancelled", "heat halves every 10 s",
    lambda a, b, c: no_bid(b) and b.ask == a.ask and both(c) and c[:2] == a[:2],
)  # fmt: skip
def one_sided_fills():
    s = Stage({"cooldown": {"adverse": "50 bps"}}).mid()
    yield s.quote()
    for _ in range(5):
        s.fill(BUY_SIDE, 10)
    yield s.wait(0.1).quote()
    yield s.wait(60).mid().quote()


@fault(
    "cooldown", "two sales whose markouts are bad", "ask wider", "heat halves every 10 s",
    lambda a, b, c: b.ask > a.ask and b.bid == a.bid and c[:2] == a[:2],
)  # fmt: skip
def adverse_fills():
    s = Stage({"cooldown": {"pause_at": 50}}).mid()
    yield s.quote()
    s.fill(SELL_SIDE, 10).wait(0.1).quote()
    s.fill(SELL_SIDE, 10).wait(0.1).quote()
    s.mid(100, wait=5).quote()
    yield s.mid(0).quote()
    yield s.wait(60).mid().quote()


@fault(
    "displacement", "the mid jumps 30 bps", "both sides wider", "the average catches up (2 s windows)",
    lambda a, b, c: width(b) > 2 * width(a) and width(c) == width(a),
)  # fmt: skip
def a_jump():
    s = Stage({"displacement": {}}).quiet(5)
    yield s.quote()
    yield s.mid(1800).quote()
    yield s.mid(1800, wait=20).quote()


@fault(
    "momentum", "the mid climbs 1 bp a second", "ask wider, bid as it was", "the average catches up (15 s windows)",
    lambda a, b, c: width(b) > width(a) and c[:2] == a[:2],
)  # fmt: skip
def a_climb():
    s = Stage({"momentum": {}}).quiet(5)
    yield s.mid(0).quote()
    for k in range(30):
        s.mid(60 * k, wait=1)
    q, acts = s.quote()
    assert q.bid - (MID + 60 * 29) == s.box.quote(now_ns=START_NS + 3600 * SECOND).bid - (MID + 60 * 29)
    yield q, acts
    yield s.mid(0, wait=1).mid(0, wait=120).quote()


@fault(
    "regime_warm_up", "fewer closed bars than 2 periods", "nothing quoted", "the bars have closed",
    lambda a, b, c: none(a) and none(b) and both(c),
)  # fmt: skip
def before_the_first_adx():
    s = Stage({"regime": {"bar": "1s", "period": 3, "soften": 99, "pull": 100}}).mid()
    yield s.quote()
    yield s.quiet(3).quote()
    yield s.quiet(6).quote()


REGIME = {"regime": {"bar": "1s", "period": 3, "dwell": "5s"}}


@fault(
    "regime", "ADX above 30: 20 bars of trend", "nothing quoted", "ADX below 22 for the dwell time (5 s here)",
    lambda a, b, c: both(a) and none(b) and both(c) and c[2:4] == a[2:4],
)  # fmt: skip
def a_trend():
    s = Stage(REGIME)
    _range(s, 30)
    yield s.quote()
    for k in range(40):
        s.mid(20 * k, wait=0.5).quote()
    yield s.quote()
    _range(s, 40)
    yield s.quote()


def _range(s, seconds):
    """Bars whose highs and lows take turns: no direction."""
    for k in range(seconds * 2):
        s.mid((40, -40, 20, -20)[k % 4] + (k // 4 % 2), wait=0.5).quote()


@fault(
    "regime", "ADX between 25 and 30", "half size, wider", "ADX below 22 for the dwell time (5 s here)",
    lambda a, b, c: b[2:4] == (5, 5) and width(b) > width(a) and c[2:4] == (10, 10),
)  # fmt: skip
def half_a_trend():
    s = Stage(REGIME)
    _range(s, 30)
    yield s.quote()
    w = s.box.r.watch[0]
    kept, w.adx.dx = float(w.adx.dx), 27.0
    yield s.quote()
    w.adx.dx = kept
    s.quote()
    yield s.wait(6).quote()


@fault(
    "volatility", "swings of 0.5 % every second", "nothing quoted", "the estimate decays, and 30 s of calm",
    lambda a, b, c: both(a) and none(b) and both(c) and c[:4] == a[:4],
)  # fmt: skip
def a_storm():
    s = Stage({"volatility": {}}).quiet(5)
    yield s.mid(0).quote()
    for k in range(10):
        s.mid(3000 * (k % 2), wait=1).quote()
    yield s.quote()
    for _ in range(400):
        s.mid(0, wait=1).quote()
    yield s.quote()


@fault(
    "market_spread", "the others' touch is 40 bps wide", "nothing quoted", "it is narrower again",
    lambda a, b, c: both(a) and none(b) and c == a,
)  # fmt: skip
def a_wide_market():
    s = Stage({"market_spread": {"max": "20 bps"}}).mid()
    yield s.quote()
    yield s.mid(half=1200).quote()
    yield s.mid().quote()


@fault(
    "thin_book", "3 lots on a side near the touch", "nothing quoted", "the book fills up",
    lambda a, b, c: both(a) and none(b) and c == a,
)  # fmt: skip
def an_empty_book():
    s = Stage({"thin_book": {"min": "1000 usd"}}).mid()
    yield s.quote()
    yield s.mid(lots=3).quote()
    yield s.mid().quote()


@fault(
    "fee_floor", "the model's spread is below two maker fees of 2 bps", "widened to 4 bps", "the model asks for more",
    lambda a, b, c: width(b) == 240 and width(a) > 240 and c == a,
)  # fmt: skip
def narrow_quotes():
    more = {"model": {"sigma": {"initial": "0.7 bps/sqrt(s)"}}, "strategy": {"refresh": "0s"}}
    s = Stage({"fee_floor": {}}, sim={"maker_fee": "2 bps"}, **more).mid()
    f = s.box.r.features[0]
    f.sigma2 = 900.0**2
    yield s.quote()
    f.sigma2 = 10.0**2
    yield s.quote()
    f.sigma2 = 900.0**2
    yield s.quote()


@fault(
    "session", "the end of the day, long", "ask only, at the touch", "the next day opens",
    lambda a, b, c: both(a) and no_bid(b) and b.ask == MID + 5 and both(c),
)  # fmt: skip
def the_close():
    """The clock starts at midnight."""
    s = Stage({"session": {"end": "00:30", "start": "01:00"}}).mid()
    yield s.quote(10)
    yield s.wait(1500).quote(10)
    yield s.wait(2400).quote(10)


@fault(
    "session", "minutes before flattening", "both sides wider", "the next day opens",
    lambda a, b, c: width(b) > width(a) and c[:2] == a[:2],
)  # fmt: skip
def into_the_close():
    s = Stage({"session": {"end": "01:00", "widening": "20m", "flatten": "5m"}}).mid()
    yield s.quote()
    yield s.wait(3000).quote()
    yield s.wait(1000).quote()


@fault(
    "rebalance", "inventory beyond the limit of 60 lots", "reducing side only, at the touch", "back at 30 lots",
    lambda a, b, c: no_ask(b) and b.bid == MID - 5 and both(c),
)  # fmt: skip
def too_short():
    s = Stage({"rebalance": {"limit": "60 lots"}}).mid()
    yield s.quote(-50)
    s.quote(-61)
    yield s.quote(-31)
    yield s.quote(-30)


@fault(
    "liquidation", "15 % of the way to liquidation left, at 10x", "reducing side only, at the touch",
    "40 % left", lambda a, b, c: both(a) and no_bid(b) and b.ask <= MID - 5000 + 5 and both(c),
)  # fmt: skip
def near_liquidation():
    s = Stage({"liquidation": {}}, risk={"leverage": 10, "max_leverage": 10}).mid()
    s.fill(BUY_SIDE, 50, MID)
    yield s.quote(50)
    liq = 0.9 * MID / (1 - 0.005)
    s.mark(round(liq + 0.15 * (MID - liq))).mid(-5000)
    yield s.quote(50)
    s.mark(round(liq + 0.45 * (MID - liq))).mid(-5000)
    yield s.quote(50)


def play(f):
    """(before, during, after) as [(quote, acts)]."""
    return list(f.run())


def table():
    """Markdown rows, each from a run that did what it says."""
    lines = [
        "| reason | injected | what it does | what ends it | lots bid / ask, spread in ticks: before; during; after |",
        "|---|---|---|---|---|",
    ]
    for f in FAULTS:
        stages = play(f)
        sizes = "; ".join(f"{q.bid_lots} / {q.ask_lots}" + (f", {width(q)}" if both(q) else "") for q, _ in stages)
        lines.append(f"| `{f.reason}` | {f.trigger} | {f.action} | {f.recovery} | {sizes} |")
    return "\n".join(lines)


def rendered(text):
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main():
    text = DOCS.read_text(encoding="utf-8")
    new = rendered(text)
    if "--check" in sys.argv:
        sys.exit(0 if new == text else "docs/controls.md: the fault table is not what the controls do")
    DOCS.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
