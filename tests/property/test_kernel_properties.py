"""What every decision must keep, for any book, inventory and model."""

import itertools
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.core.types import BUY_SIDE, SELL_SIDE
from mm.strategy.overlays import bound_spread, inventory_lots
from tests.reference.kernel_box import MODELS, START_NS, Box, instrument

MID = 600_000
models = st.sampled_from(MODELS)


def config(name="glft_asymptotic", gamma=None, kappa="0.7/bp", A=0.8, sigma="0.7 bps/sqrt(s)", size="10 lots", **more):
    model = {"name": name, "gamma": gamma or {"q_max": 5}, "kappa": kappa, "A": A, "sigma": sigma}
    model |= more.pop("model", {})
    strategy = {"model": model, "order_size": size} | more
    return {"strategy": strategy, "risk": {"max_position": "1000000 lots", "max_notional_usd": 1e12}}


boxes = st.builds(
    lambda name, q_max, kappa, A, sigma, spread, skew, ref, spot, n: Box(
        config(
            name, {"q_max": q_max}, f"{kappa}/bp", A, f"{sigma} bps/sqrt(s)", reference=ref,
            spread={"min": f"{spread[0]} ticks", "max": f"{spread[0] + spread[1]} ticks", "max_skew": f"{skew} ticks"},
            model={"n_lots": n},
        ),
        inst=instrument(kind="spot" if spot else "linear"),
    ),
    models, st.sampled_from([1, 2, 5, 20]), st.sampled_from([0.05, 0.7, 5, 60]), st.sampled_from([0.01, 0.8, 30]),
    st.sampled_from([0.05, 0.7, 5]), st.tuples(st.integers(0, 300), st.integers(0, 3000)), st.integers(0, 3000),
    st.sampled_from(["mid", "microprice"]), st.booleans(), st.sampled_from([1, 3, 10]),
)  # fmt: skip


@given(boxes, st.integers(1, 60), st.integers(1, 500), st.integers(1, 500), st.integers(-150, 150))
def test_a_decision_is_never_absurd(box, width, bid_lots, ask_lots, pos):
    best_bid, best_ask = MID - width // 2 - 1, MID - width // 2 - 1 + width
    box.book({best_bid: bid_lots}, {best_ask: ask_lots})
    q = box.quote(pos)
    p = box.r.params[0]
    has_bid, has_ask = q.bid_lots > 0, q.ask_lots > 0
    assert not (has_bid and has_ask) or q.bid < q.ask
    assert not has_bid or (q.bid < best_ask and 10 >= q.bid_lots >= p.min_lots)
    assert not has_ask or (q.ask > best_bid and 10 >= q.ask_lots >= p.min_lots)
    # the hard inventory limit, and spot sells what it has
    assert not has_bid or pos + q.bid_lots <= p.max_inventory_lots
    assert not has_ask or pos - q.ask_lots >= (0 if p.spot else -p.max_inventory_lots)
    # rounding is away from the touch and by less than a tick, unless the touch holds the quote back
    mid = box.r.features[0].microprice if p.microprice else box.r.features[0].mid
    bid, ask, _ = bound_spread(p, mid, q.raw_bid, q.raw_ask)
    if has_bid:
        assert q.bid <= bid + 1e-6
        assert q.bid > bid - 1 or q.bid == best_ask - 1
    if has_ask:
        assert q.ask >= ask - 1e-6
        assert q.ask < ask + 1 or q.ask == best_bid + 1
    assert (has_bid and has_ask) or q.reason != "quoting"


finite = st.floats(-5e4, 5e4)


@given(
    finite, finite, st.integers(0, 500), st.integers(0, 5000), st.integers(0, 5000), st.sampled_from(["bid", "ask", ""])
)
def test_the_final_clamp(raw_bid, raw_ask, low, extra, skew, missing):
    p = _params()
    p.min_spread, p.max_spread, p.max_skew = low, low + extra, skew
    ref, eps = float(MID), 1e-6
    bid, ask, moved = bound_spread(
        p, ref, math.nan if missing == "bid" else ref + raw_bid, math.nan if missing == "ask" else ref + raw_ask
    )
    if missing:
        # one side alone: within everything that the two-sided rule allows
        assert math.isnan(bid if missing == "bid" else ask)
        out = ask - ref if missing == "bid" else ref - bid
        assert 0.5 * low - skew - eps <= out <= 0.5 * (low + extra) + eps
        assert moved == ((ask != ref + raw_ask) if missing == "bid" else (bid != ref + raw_bid))
    else:
        assert low - eps <= ask - bid <= low + extra + eps
        assert abs(0.5 * (bid + ask) - ref) <= skew + eps
        if not moved:
            assert (bid, ask) == (ref + raw_bid, ref + raw_ask)


_CACHE = []


def _params():
    if not _CACHE:
        _CACHE.append(Box().r.params)
    return _CACHE[0][0]


@given(models, st.sampled_from([2, 5, 9]), st.sampled_from([0.2, 0.7, 5]), st.lists(st.integers(-120, 120), min_size=8))
def test_more_inventory_never_raises_a_quote(name, q_max, kappa, positions):
    box = Box(config(name, {"q_max": q_max}, f"{kappa}/bp", spread={"max": "500 bps", "max_skew": "25 bps"})).touch()
    quotes = [box.quote(pos) for pos in sorted(positions)]
    bids = [q.bid for q in quotes if q.bid_lots]
    asks = [q.ask for q in quotes if q.ask_lots]
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks, reverse=True)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("sigma", ["0.7 bps/sqrt(s)", {}])
def test_every_parameter_moves_the_final_quote(name, sigma):
    def quote(pos=0, **model):
        box = Box({"strategy": {"model": {"name": name, "sigma": sigma} | model, "order_size": "10 lots"}}).touch()
        return box.quote(pos)[:2]

    base = quote()
    wide = {"initial": "3 bps/sqrt(s)"} if isinstance(sigma, dict) else "3 bps/sqrt(s)"
    assert quote(gamma={"q_max": 2.5}) != base
    assert quote(kappa="0.9/bp") != base
    assert quote(A=3.0, gamma={"q_max": 5}) != base
    if name != "avellaneda_stoikov":  # whose gamma is fixed here, and which does not know A
        fixed = {"gamma": "3/bp"}
        assert quote(A=8.0, **fixed) != quote(**fixed)
    assert quote(sigma=wide, gamma="3/bp") != quote(gamma="3/bp")
    assert quote(gamma="9/bp") != quote(gamma="3/bp")
    assert quote(pos=20) != base
    assert quote(pos=3) != base  # less than one order


@given(models, st.integers(-60, 60), st.sampled_from([10, 1000]), st.sampled_from(["0.7/bp", "0.02/tick"]))
def test_a_price_unit_rescales_quotes(name, pos, scale, kappa):
    """tick x scale and prices x scale: the same ticks."""
    cfg = config(name, kappa=kappa, sigma="0.7 bps/sqrt(s)")
    inst = instrument(tick_size=Decimal("0.1") * scale)
    a = Box(cfg).touch().quote(pos)
    b = Box(cfg, inst=inst).touch().quote(pos)
    assert a[:5] == b[:5]
    assert a[5:] == pytest.approx(b[5:], rel=1e-12, nan_ok=True)


def test_a_dollar_kappa_rescales_with_the_price():
    a = Box(config(kappa="0.12/$")).touch().quote(7)
    b = Box(config(kappa="0.012/$"), inst=instrument(tick_size=Decimal(1))).touch().quote(7)
    assert a[:5] == b[:5]


@given(models, st.integers(-60, 60), st.sampled_from([0.1, 7, 1000]))
def test_a_time_unit_does_not_move_quotes(name, pos, c):
    """Everything c times slower: A/c, sigma/sqrt(c), horizon times c."""
    a = Box(config(name, model={"horizon": "60s"})).touch().quote(pos)
    slow = config(name, A=0.8 / c, sigma=f"{0.7 / math.sqrt(c)!r} bps/sqrt(s)", model={"horizon": f"{60 * c!r}s"})
    b = Box(slow).touch().quote(pos)
    assert (a.raw_bid - MID, a.raw_ask - MID) == pytest.approx(
        (b.raw_bid - MID, b.raw_ask - MID), rel=1e-6, nan_ok=True
    )


levels = st.dictionaries(st.integers(1, 40), st.integers(1, 50), max_size=6)
own = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), max_size=3, unique_by=lambda x: x[0])


@given(levels, levels, own, own)
def test_own_orders_are_netted_out(bids, asks, own_bids, own_asks):
    others = ({MID - t: n for t, n in bids.items()}, {MID + t: n for t, n in asks.items()})
    alone = _reuse("alone", own_in_feed=False).book(*others)
    alone.quote()
    public = [dict(side) for side in others]
    box = _reuse("box", own_in_feed=True)
    box.r.orders["state"] = 0
    for side, sign, ours in ((BUY_SIDE, -1, own_bids), (SELL_SIDE, 1, own_asks)):
        for t, n in ours:
            tick = MID + sign * t
            box.own(side, tick, n)
            book = public[0 if side == BUY_SIDE else 1]
            book[tick] = book.get(tick, 0) + n
    box.book(*public).quote()
    f, g = alone.r.features[0], box.r.features[0]
    assert f.valid == g.valid
    if f.valid:
        for name in ("bid_tick", "ask_tick", "bid_lots", "ask_lots", "mid", "microprice", "imbalance"):
            assert f[name] == g[name], name


def _reuse(key, _kept={}, **kw):  # noqa: B006 - boxes are expensive to make under Hypothesis
    if key not in _kept:
        _kept[key] = Box(**kw)
    return _kept[key]


@given(st.integers(-300, 300), st.integers(0, 200), st.integers(1, 50), st.integers(1, 50), st.booleans())
def test_the_size_of_a_quote(pos, limit, order, smallest, spot):
    p = _params().copy()
    p.max_inventory_lots, p.order_lots, p.min_lots, p.spot = limit, order, smallest, spot
    for side in (1, -1):
        lots = inventory_lots(p, pos, side)
        room = limit - side * pos
        if spot and side < 0:
            room = min(room, pos)
        assert lots == (min(order, room) if min(order, room) >= smallest else 0)


def test_no_quote_without_a_reason():
    box = Box(config())
    assert box.quote()[2:5] == (0, 0, "no_book")
    box.book({MID - 5: 3}, {})
    assert box.quote()[2:5] == (0, 0, "no_book")
    box.book({}, {MID + 5: 3})
    assert box.quote()[2:5] == (0, 0, "no_book")
    box.touch()
    assert box.quote(stale=True)[2:5] == (0, 0, "stale_feed")
    assert box.quote()[2:5] == (10, 10, "quoting")
    box.r.state[0].halted = 3
    assert box.quote()[2:5] == (0, 0, "halted")
    assert box.r.state[0].pulled == 5
    assert box.r.state[0].decision == 6


def test_at_the_inventory_limit_one_side_is_quoted():
    box = Box(config()).touch()
    assert box.quote(100)[2:5] == (0, 10, "inventory_limit")
    assert box.quote(-100)[2:5] == (10, 0, "inventory_limit")
    assert box.quote(95)[2:5] == (5, 10, "quoting")  # what is left of the limit


@pytest.mark.parametrize("name", ["glft_stationary", "glft_exact"])
def test_a_table_model_at_its_limit_still_wants_out(name):
    """The reducing quote at the limit is at least as eager as one order below it."""
    box = Box(config(name)).touch()
    below, at = box.quote(90), box.quote(100)
    assert below.ask_lots
    assert at.ask_lots
    assert at.bid_lots == 0
    assert at.ask <= below.ask
    assert box.quote(-100).bid >= box.quote(-90).bid


def test_microprice_leans_to_the_thin_side():
    box = Box(config(reference="microprice"))
    heavy_bid = box.book({MID - 5: 900}, {MID + 5: 100}).quote()
    heavy_ask = box.book({MID - 5: 100}, {MID + 5: 900}).quote()
    assert heavy_bid.raw_bid - heavy_ask.raw_bid == pytest.approx(8.0)


def test_a_session_counts_down_and_restarts():
    cfg = config("avellaneda_stoikov", model={"horizon": "10s", "horizon_mode": "session"}, refresh="1s")
    box = Box(cfg).touch()
    spreads = []
    for second in range(12):
        q = box.quote(now_ns=START_NS + second * 1_000_000_000)
        spreads.append(q.raw_ask - q.raw_bid)
    assert all(a > b for a, b in itertools.pairwise(spreads[:10]))
    assert spreads[10] == pytest.approx(spreads[0], rel=1e-9)


def test_zero_volatility_is_taken_at_its_word():
    still = Box(config(sigma="0 bps/sqrt(s)", gamma="3/bp")).touch()
    still.book({MID + 200: 5}, {MID + 210: 5}, START_NS + 10**9)  # a jump that an estimator would see
    q = still.quote(50, now_ns=START_NS + 2 * 10**9)
    assert still.r.state[0].sigma == 0.0
    assert q.reservation == pytest.approx(MID + 205)  # no risk, no skew


def test_the_estimate_follows_the_mid():
    box = Box({"strategy": {"model": {"sigma": {"halflife": "1s", "sample": "100ms"}}, "order_size": "10 lots"}})
    steps = 400
    for k in range(steps):  # +-10 ticks every 100 ms
        tick = MID + 10 * (k % 2)
        box.book({tick - 5: 9}, {tick + 5: 9}, START_NS + k * 100_000_000)
    assert box.r.features[0].sigma2 == pytest.approx(10**2 / 0.1, rel=1e-9)
