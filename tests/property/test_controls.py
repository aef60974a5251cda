"""What every decision keeps with any controls on, and that none of them is in the way of fills and risk."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import ACK, BUY_SIDE, CANCELED, FILL, FREE, SELL_SIDE, SENT
from mm.strategy.controls.names import ACTS
from tests.reference.control_faults import MID, Stage, base
from tests.reference.kernel_box import START_NS, Box, instrument
from tests.reference.plain import examples

CONTROLS = {
    "tick_filter": {"window": 5, "floor": "2 ticks"},
    "inventory": {"soft": "30 lots", "hard": "60 lots"},
    "cooldown": {},
    "displacement": {"widen": 10},
    "momentum": {},
    "regime": {},
    "volatility": {},
    "market_spread": {"max": "30 ticks"},
    "thin_book": {"min": "20 lots"},
    "fee_floor": {"margin_bps": -2},
    "session": {"end": "00:10", "start": "00:20", "flatten": "2m", "widening": "3m"},
    "rebalance": {"limit": "50 lots", "resume": "20 lots"},
    "liquidation": {"below": 0.5, "resume": 0.8},
}
some_controls = st.sets(st.sampled_from(sorted(CONTROLS)), min_size=1)
_BOXES = {}


def box_of(names, name="glft_asymptotic", spot=False, **spread):
    """Boxes are expensive to make under Hypothesis: one a kind, its records as they were at the start."""
    names = sorted(n for n in names if not (spot and n == "liquidation"))
    key = (tuple(names), name, spot, tuple(spread.items()))
    if key not in _BOXES:
        bounds = {"min": "20 ticks", "max": "300 ticks", "max_skew": "200 ticks"} | spread
        cfg = base(
            {n: CONTROLS[n] for n in names},
            model={"name": name, "n_lots": 10},
            strategy={"spread": bounds},
            risk={"leverage": 5, "max_leverage": 5},
        )
        box = Box(cfg, inst=instrument(kind="spot" if spot else "linear")).touch()
        _BOXES[key] = box, box.r.state.copy(), box.r.watch.copy(), box.r.features.copy()
    box, state, watch, features = _BOXES[key]
    box.r.state[:], box.r.watch[:], box.r.features[:] = state, watch, features
    box.r.orders["state"] = FREE
    return box


signals = st.fixed_dictionaries({
    "displacement": st.floats(-500, 500), "momentum": st.floats(-500, 500),
    "adx": st.floats(0, 100) | st.just(math.nan), "fast_sigma": st.floats(0, 500),
    "depth_bid_lots": st.integers(0, 100), "depth_ask_lots": st.integers(0, 100),
    "suspect": st.sampled_from([0, 0, 0, 1, -1]), "heat_bid": st.floats(0, 8), "heat_ask": st.floats(0, 8),
    "minutes": st.integers(0, 30), "entry": st.floats(-0.3, 0.3),
})  # fmt: skip


def quote_under(box, pos, x):
    """A decision in a made-up situation: signals are set, not observed."""
    r = box.r
    f, c, w = r.features[0], r.state[0].control, r.watch[0]
    on = int(w.settings.on)
    for k in ("displacement", "momentum", "adx", "fast_sigma", "depth_bid_lots", "depth_ask_lots", "suspect"):
        f[k] = x[k]
    f.good_mid = f.good_microprice = MID - 20 * x["suspect"]
    c.cooldown.heat_bid, c.cooldown.heat_ask = x["heat_bid"], x["heat_ask"]
    now_ns = START_NS + x["minutes"] * 60_000_000_000
    c.cooldown.ns = now_ns
    c.protection.margin.entry = MID * (1 + x["entry"])
    w.settings.on = 0  # `look` would overwrite them
    q = box.quote(pos, now_ns=now_ns)
    w.settings.on = on
    return q


@given(
    some_controls, st.sampled_from(["glft_asymptotic", "glft_exact", "avellaneda_stoikov"]), st.booleans(),
    st.integers(-130, 130), st.integers(1, 60), signals,
)  # fmt: skip
def test_a_decision_is_never_absurd(names, model, spot, pos, market, x):
    box = box_of(names, model, spot)
    best_bid, best_ask = MID - market // 2 - 1, MID - market // 2 - 1 + market
    box.book({best_bid: 50}, {best_ask: 50})
    q = quote_under(box, pos, x)
    p, t = box.r.params[0], box.r.target[0]
    has_bid, has_ask = q.bid_lots > 0, q.ask_lots > 0
    assert not (has_bid and has_ask) or q.bid < q.ask
    assert not has_bid or (q.bid < best_ask and p.min_lots <= q.bid_lots <= 10)
    assert not has_ask or (q.ask > best_bid and p.min_lots <= q.ask_lots <= 10)
    hard = 60 if "inventory" in names else 100
    assert not has_bid or pos + q.bid_lots <= hard
    assert not has_ask or pos - q.ask_lots >= (0 if spot else -hard)
    if t.reduce_only:
        assert not has_bid or pos + q.bid_lots <= 0
        assert not has_ask or pos - q.ask_lots >= 0
    # the bounds are last: away from the touch, both prices keep them up to rounding
    ref = MID - 20 * x["suspect"] if x["suspect"] else 0.5 * (best_bid + best_ask)
    if has_bid and has_ask and q.bid < best_ask - 1 and q.ask > best_bid + 1:
        assert 20 <= q.ask - q.bid <= 300 + 2
        assert abs(0.5 * (q.bid + q.ask) - ref) <= 200 + 1
    if has_ask and q.ask > best_bid + 1:
        assert ref - 200 + 10 - 1 <= q.ask <= ref + 200 + 150 + 1
    if has_bid and q.bid < best_ask - 1:
        assert ref - 200 - 150 - 1 <= q.bid <= ref + 200 - 10 + 1
    # nothing is missing without a reason
    assert (has_bid and has_ask) or q.reason != "quoting"
    assert all(name in {*ACTS} for name in ACTS if t.acting >> ACTS.index(name) & 1)


@given(
    some_controls, st.sampled_from(["glft_asymptotic", "glft_stationary", "avellaneda_stoikov"]),
    st.lists(st.integers(-120, 120), min_size=6), signals,
)  # fmt: skip
def test_more_inventory_never_raises_a_quote(names, model, positions, x):
    names = set(names) - {"liquidation"}  # whose distance moves with the position itself
    if not names:
        return
    quotes = []
    for pos in sorted(positions):
        box = box_of(names, model, max="5000 ticks")
        quotes.append(quote_under(box.touch(), pos, x))
    bids = [q.bid for q in quotes if q.bid_lots]
    asks = [q.ask for q in quotes if q.ask_lots]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks, reverse=True)


moves = st.lists(
    st.tuples(st.sampled_from(["decide", "ack", "fill", "cancel", "mid"]), st.integers(0, 7), st.integers(1, 10)),
    min_size=5, max_size=60,
)  # fmt: skip


@settings(max_examples=60)
@given(moves, st.sampled_from([("inventory",), ("inventory", "rebalance"), ("inventory", "cooldown")]), st.booleans())
def test_the_hard_limit_holds_even_if_every_working_order_fills(script, names, spot):
    """Reports in any order, orders of unknown outcome, replaces in flight: the worst case stays inside."""
    box = box_of(names, spot=spot, min="1 ticks", max="4 ticks")
    s, now = box.r.state[0], START_NS
    mid = 0
    for what, which, n in script:
        now += 200_000_000
        working = [o for o in box.r.orders if o.state != FREE]
        if what == "decide":
            box.step(now)
        elif what == "mid":
            mid = (which - 3) * n
            box.book({MID + mid - 1: 50}, {MID + mid + 1: 50}, now)
        elif working:
            o = working[which % len(working)]
            if what == "ack":
                box.report(ACK, int(o.id))
            elif what == "cancel":
                box.report(CANCELED, int(o.id))
            else:
                box.report(FILL, int(o.id), int(o.side), int(o.tick), min(n, int(o.lots)))
        orders = box.r.orders
        for side in (BUY_SIDE, SELL_SIDE):
            open_lots = int(orders["lots"][(orders["state"] != FREE) & (orders["side"] == side)].sum())
            worst = int(s.pos_lots) + side * open_lots
            assert side * worst <= 60, (what, side)
            assert not spot or worst >= 0


def test_a_reducing_order_never_flips_what_is_being_cancelled():
    """5 lots long, an ask of 5 whose cancel is on its way: no second ask until it is gone."""
    box = box_of(("rebalance",)).touch()
    s = box.r.state[0]
    s.pos_lots, s.control.rebalance, box.r.params[0].control.rebalance.resume_lots = 5, 1, 0
    box.own(SELL_SIDE, MID + 400, 5)
    q, cmds = box.step(START_NS + 10**9)
    assert (q.bid_lots, q.ask_lots) == (0, 5)
    assert [int(c) for c in cmds["op"]] == [1]  # the cancel alone
    box.report(CANCELED, 1000)
    q, cmds = box.step(START_NS + 2 * 10**9)
    assert [(int(c.op), int(c.side), int(c.lots)) for c in cmds.view(np.recarray)] == [(0, SELL_SIDE, 5)]


def test_the_resting_order_of_a_paused_side_is_cancelled():
    s = Stage({"cooldown": {}}).mid()
    _, cmds = s.box.step(s.now_ns)
    assert len(cmds) == 2
    for o in s.box.r.orders:
        if o.state == SENT:
            s.box.report(ACK, int(o.id))
    for _ in range(5):
        s.fill(BUY_SIDE, 10)
    q, cmds = s.wait(0.2).box.step(s.now_ns)
    assert q.reason == "cooldown"
    assert [(int(c.op), int(c.side)) for c in cmds.view(np.recarray) if c.side > 0] == [(1, BUY_SIDE)]


@given(
    some_controls,
    st.lists(st.tuples(st.sampled_from([1, -1]), st.integers(-900, 900), st.integers(1, 30)), max_size=12),
    st.lists(st.integers(-6000, 6000), min_size=1, max_size=6),
)  # fmt: skip
def test_no_control_is_in_the_way_of_fills(names, fills, mids):
    """Position, cash, fees and counts after any reports and ticks are those of a strategy without controls."""
    ends = []
    for some in (names, ()):
        box = box_of(some) if some else box_of(("fee_floor",))
        if not some:
            box.r.params[0].controls, kept = 0, int(box.r.params[0].controls)
        for k, (side, offset, lots) in enumerate(fills):
            mid = MID + mids[k % len(mids)]
            box.book({mid - 5: 9}, {mid + 5: 9}, START_NS + k * 10**8)
            box.report(FILL, 0, side, MID + offset, lots, True, 77)
            box.step(START_NS + k * 10**8)
        s = box.r.state[0]
        ends.append([int(s[k]) for k in ("pos_lots", "cash_units", "fee_units_e8", "fills", "bought_lots", "sold_lots",
                                         "notional_units", "decision")])  # fmt: skip
        if not some:
            box.r.params[0].controls = kept
    assert ends[0] == ends[1]


@given(
    st.sampled_from([("displacement", "momentum"), ("cooldown",), ("regime",), ("volatility", "tick_filter")]),
    st.lists(st.tuples(st.integers(-150, 150), st.floats(0.05, 3), st.sampled_from([0, 0, 1, -1])), min_size=8,
             max_size=30),
    st.sampled_from([3, 100]),
)  # fmt: skip
@settings(max_examples=examples(40, 4))
def test_a_time_unit_does_not_move_quotes(names, path, c):
    """Everything ``c`` times slower: windows and dwells times c, sigma over sqrt(c), A over c."""

    def run(slow):
        controls = {
            "displacement": {"window": f"{2 * slow}s"}, "momentum": {"window": f"{15 * slow}s"},
            "cooldown": {"halflife": f"{10 * slow}s", "markout": f"{5 * slow}s"},
            "regime": {"bar": f"{slow}s", "period": 2, "dwell": f"{2 * slow}s"},
            "volatility": {"halflife": f"{30 * slow}s", "sample": f"{slow}s", "dwell": f"{3 * slow}s"}
            | {k: f"{v / math.sqrt(slow)!r} bps/s" for k, v in (("soften", 1), ("pull", 3), ("resume", 0.9))},
            "tick_filter": {"floor": "20 ticks"},
        }  # fmt: skip
        model = {"A": 0.8 / slow, "sigma": f"{0.7 / math.sqrt(slow)!r} bps/sqrt(s)"}
        s = Stage({n: controls[n] for n in names}, model=model)
        out, start_ns = [], START_NS - START_NS % (slow * 60 * 10**9)
        at = 0
        for offset, wait, side in path:
            at += round(wait * 1e6) * 1000
            now_ns = start_ns + slow * at
            s.box.book({MID + offset - 5: 50}, {MID + offset + 5: 50}, now_ns)
            if side:
                s.box.report(FILL, 0, side, MID + offset, 10)
            q = s.box.quote(0, now_ns=now_ns)
            out.append((q.bid_lots, q.ask_lots, q.reason, int(s.box.r.target[0].acting),
                        q.bid if q.bid_lots else None, q.ask if q.ask_lots else None))  # fmt: skip
        return out

    plain, slowed = run(1), run(c)
    for a, b in zip(plain, slowed, strict=True):
        assert a[:4] == b[:4]
        for x, y in zip(a[4:], b[4:], strict=True):
            assert (x is None) == (y is None)
            assert x is None or abs(x - y) <= 1  # the last bit of a square root may round the other way


@given(some_controls, signals, st.integers(-80, 80), st.sampled_from([10, 1000]))
@settings(max_examples=40)
def test_a_price_unit_rescales_quotes(names, x, pos, scale):
    """Tick and prices times ``scale``: the same ticks. Limits in lots and bps know no currency."""
    controls = {n: CONTROLS[n] for n in names}
    cfg = base(controls, risk={"leverage": 5, "max_leverage": 5, "initial_equity_usd": 1e12, "max_notional_usd": 1e15})
    found = []
    for k in (1, scale):
        box = Box(cfg, inst=instrument(tick_size=Decimal("0.1") * k)).touch()
        found.append(quote_under(box, pos, x))
    a, b = found
    assert a[:5] == b[:5]
    assert a[5:] == pytest.approx(b[5:], rel=1e-9, nan_ok=True)


@given(st.integers(-120, 120), st.integers(0, 30))
def test_an_empty_section_changes_nothing(pos, seconds):
    kinds = []
    for controls in (None, {}):
        key = ("plain", controls is None)
        if key not in _BOXES:
            _BOXES[key] = Box(base(controls)).touch()
        kinds.append(_BOXES[key].quote(pos, now_ns=START_NS + seconds * 10**9))
    a, b = kinds
    assert a[:5] == b[:5]
    assert a[5:] == pytest.approx(b[5:], rel=0, nan_ok=True)


def test_spot_leans_on_its_target():
    cfg = base(None, strategy={"target_inventory": "50 lots", "opening_base": "50 lots"})
    box = Box(cfg, inst=instrument(kind="spot")).touch()
    at, above = box.quote(50), box.quote(70)
    assert at.reservation == MID
    assert above.reservation < MID
    assert box.quote(4)[2:4] == (10, 4)  # sells what it holds
    assert box.quote(0)[2:4] == (10, 0)
    assert box.quote(150)[2:4] == (0, 10)  # 100 away from the target
