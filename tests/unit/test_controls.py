"""The parts of the controls, each against a slower or another way to say the same; config errors that teach."""

import json
import math
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.config.schema import RunConfig
from mm.core.types import ASK, BID, BUY_SIDE, EVENT, LAST, SELL_SIDE, records
from mm.errors import ConfigError
from mm.features import wilder
from mm.sim.monitors import watch_bounds
from mm.sim.state import SAMPLE
from mm.strategy.controls import adx, drift
from mm.strategy.controls.latch import LATCH, LATCH_STATE, latch
from mm.strategy.controls.reduce import distance_left
from mm.strategy.controls.session import SESSION_DAY
from mm.strategy.controls.tick_filter import FILTER, FILTER_STATE, judge
from mm.strategy.quoter import Quoter
from mm.strategy.sensitivity import PARAMETERS, sensitivity
from mm.strategy.setup import resolve
from tests.reference.control_faults import MID, Stage, base
from tests.reference.kernel_box import MODELS, START_NS, Box, instrument

SECOND = 1_000_000_000
COARSE = instrument(min_notional=Decimal(140))  # three lots


# --- ADX -------------------------------------------------------------------------------------------------------------
def streamed(bars, n, bar_ns=SECOND):
    """ADX after each closed bar of (high, low, close), fed as three ticks a bar."""
    g, c = records(1, adx.ADX), records(1, adx.ADX_STATE)
    g.bar_ns, g.n = bar_ns, n
    out = []
    for k, bar in enumerate(bars):
        for j, x in enumerate(bar):
            adx.take(g[0], c[0], float(x), START_NS + k * bar_ns + j * bar_ns // 4)
            if j == 0 and k > 0:
                out.append(adx.value(c[0], n))
    adx.close_bar(c[0], n)
    return [*out, adx.value(c[0], n)]


@given(
    st.lists(st.tuples(st.integers(-30, 30), st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=60),
    st.integers(1, 7),
)  # fmt: skip
def test_streamed_adx_is_the_adx_of_the_series(moves, n):
    close = 1000.0 + np.cumsum([m[0] for m in moves])
    high, low = close + [m[1] for m in moves], close - [m[2] for m in moves]
    whole = wilder.adx(high, low, close, n).adx
    assert streamed(np.stack([high, low, close], 1), n) == pytest.approx(list(whole), rel=1e-12, nan_ok=True)


def test_streamed_adx_gives_the_golden_numbers():
    cases = json.loads((Path(__file__).parents[1] / "golden" / "cases.json").read_text())["adx_wilder"]["cases"]
    for case in cases:
        i, want = case["inputs"], case["outputs"]["adx"]
        got = streamed(np.stack([i["high"], i["low"], i["close"]], 1), i["n"])
        assert got == pytest.approx([math.nan if x is None else x for x in want], rel=1e-9, nan_ok=True)
    assert cases


def test_bars_without_ticks_are_flat_and_a_long_silence_starts_anew():
    g, c = records(1, adx.ADX), records(1, adx.ADX_STATE)
    g.bar_ns, g.n = SECOND, 2
    ticks = [(0, 10.0), (1, 13.0), (4, 12.0), (5, 15.0), (6, 15.0)]
    for second, x in ticks:
        adx.take(g[0], c[0], x, START_NS + second * SECOND)
    bars = [10.0, 13.0, 13.0, 13.0, 12.0, 15.0]
    assert adx.value(c[0], 2) == pytest.approx(wilder.adx(bars, bars, bars, 2).adx[-1], rel=1e-12)
    adx.take(g[0], c[0], 9.0, START_NS + 50 * SECOND)
    assert math.isnan(adx.value(c[0], 2))
    assert int(c[0].bars) == 0
    adx.take(g[0], c[0], 9.5, START_NS + 49 * SECOND)  # a late tick belongs to the open bar
    assert int(c[0].bars) == 0
    assert float(c[0].high) == 9.5


# --- tick filter -----------------------------------------------------------------------------------------------------
class NaiveFilter:
    def __init__(self, window, mads, floor, confirm):
        self.window, self.mads, self.floor, self.confirm = window, mads, floor, confirm
        self.mids, self.suspects = [], []

    def judge(self, mid):
        if 2 * len(self.mids) >= self.window:
            median = np.median(self.mids)
            tolerance = max(self.mads * 1.4826 * np.median(np.abs(np.array(self.mids) - median)), self.floor)
            if abs(mid - median) > tolerance:
                agrees = self.suspects and abs(mid - self.suspects[-1]) <= tolerance
                self.suspects = [*self.suspects, mid] if agrees else [mid]
                if len(self.suspects) < self.confirm:
                    return 1 if mid > median else -1
                self.mids = []
        self.suspects = []
        if not self.mids or mid != self.mids[-1]:
            self.mids = [*self.mids, mid][-self.window :]
        return 0


@given(
    st.lists(st.one_of(st.integers(-5, 5), st.sampled_from([-400, 300, 301, 305])), max_size=80), st.integers(5, 12),
    st.sampled_from([1.0, 3.0, 8.0]), st.sampled_from([0.0, 2.0, 30.0]), st.integers(2, 5),
)  # fmt: skip
def test_the_tick_filter_is_median_and_mad(offsets, window, mads, floor, confirm):
    g, c = records(1, FILTER), records(1, FILTER_STATE)
    g.window, g.mads, g.floor, g.confirm = window, mads, floor, confirm
    naive = NaiveFilter(window, mads, floor, confirm)
    for x in offsets:
        assert judge(g[0], c[0], 1000.0 + x) == naive.judge(1000.0 + x)


# --- moves -----------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(-50, 50)), min_size=1, max_size=20), st.integers(0, 5000))
def test_the_average_is_the_integral_of_the_mid(steps, after_ms):
    c, window = records(1, drift.DRIFT_STATE), 1.7
    t, path = 0, []
    for dt_ms, x in steps:
        t += dt_ms
        drift.follow(c[0], window, 1000.0 + x, START_NS + t * 1_000_000)
        path.append((t * 1e-3, 1000.0 + x))
    now = (t + after_ms) * 1e-3
    average = path[0][1] * math.exp(-(now - path[0][0]) / window)  # as if it had always been there
    for (a, x), (b, _) in zip(path, [*path[1:], (now, 0)], strict=True):
        average += x * (math.exp(-(now - b) / window) - math.exp(-(now - a) / window))
    got = drift.moved(c[0], window, START_NS + (t + after_ms) * 1_000_000)
    assert got == pytest.approx(path[-1][1] - average, abs=1e-9)
    assert drift.moved(c[0], window, START_NS + (t + after_ms) * 1_000_000) == got  # looking changes nothing


def test_a_brownian_mid_has_moves_of_one_sigma():
    rng, c = np.random.default_rng(5), records(1, drift.DRIFT_STATE)
    sigma, window, dt, seen = 40.0, 2.0, 0.01, []
    x = 1e6
    for k in range(60_000):
        x += sigma * math.sqrt(dt) * rng.standard_normal()
        drift.follow(c[0], window, x, START_NS + round(k * dt * 1e9))
        seen.append(drift.sigmas(drift.moved(c[0], window, START_NS + round(k * dt * 1e9)), sigma, window))
    assert np.std(seen[2000:]) == pytest.approx(1.0, abs=0.12)


# --- latch -----------------------------------------------------------------------------------------------------------
def test_a_latch_rises_at_once_and_falls_after_a_calm():
    g, c = records(1, LATCH), records(1, LATCH_STATE)
    g.soften, g.pull, g.resume, g.dwell_ns = 25, 30, 22, 10 * SECOND
    script = [
        (0, 20, 0), (1, 25, 1), (2, 23, 1), (3, 31, 2), (4, 26, 2), (5, 21, 2), (14, 21, 2), (15, 21, 0), (16, 24, 0),
        (17, 30, 2), (18, 21, 2), (27, 22, 2), (28, 21, 2), (37, 21, 2), (38, 21, 0),
    ]  # fmt: skip
    for second, x, level in script:
        assert latch(g[0], c[0], float(x), START_NS + second * SECOND) == level, second


# --- depth -----------------------------------------------------------------------------------------------------------
levels = st.dictionaries(st.integers(1, 40), st.integers(1, 50), min_size=1, max_size=8)


@given(levels, levels, st.lists(st.tuples(st.integers(1, 40), st.integers(1, 50)), max_size=2), st.integers(0, 30))
def test_depth_near_the_touch_is_the_others(bids, asks, own, within):
    box = _boxed(within)
    box.r.orders["state"] = 0
    public = [{MID - t: n for t, n in bids.items()}, {MID + t: n for t, n in asks.items()}]
    for k, (side, sign) in enumerate(((BUY_SIDE, -1), (SELL_SIDE, 1))):
        for t, n in own:
            box.own(side, MID + sign * t, n)
            public[k][MID + sign * t] = public[k].get(MID + sign * t, 0) + n
    box.book(*public).quote()
    f = box.r.features[0]
    assert f.depth_bid_lots == sum(n for t, n in bids.items() if t <= min(bids) + within)
    assert f.depth_ask_lots == sum(n for t, n in asks.items() if t <= min(asks) + within)


def _boxed(within, _kept={}):  # noqa: B006 - boxes are expensive to make under Hypothesis
    if within not in _kept:
        cfg = base({"thin_book": {"within": f"{within} ticks", "min": "1 lots"}})
        _kept[within] = Box(cfg, own_in_feed=True)
    return _kept[within]


# --- liquidation -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("side", [1, -1])
def test_the_distance_left_runs_from_one_to_zero(side):
    s = Stage({"liquidation": {}}, risk={"leverage": 10, "max_leverage": 10}).mid()
    s.fill(side, 50, MID)
    r = s.box.r
    p, state, g = r.params[0], r.state[0], r.params[0].control.protection
    liq = MID * (1 - side * 0.1) / (1 - side * 0.005)  # linear, 10x, 0.5 % of the mark (FORMULAS section 7)
    left = [distance_left(g, state.control.protection, p, state, x) for x in (MID, 0.5 * (MID + liq), liq)]
    assert left == pytest.approx([1.0, 0.5, 0.0], abs=1e-9)


def test_a_position_from_before_the_start_has_its_entry():
    """The live quoter opens with the venue's average entry."""
    cfg = RunConfig.model_validate(base({"liquidation": {}}, risk={"leverage": 10, "max_leverage": 10}))
    q = Quoter(cfg, [instrument()])
    q.set_position(0, 40, MID + 123.5)
    q.on_events(_touch())
    assert float(q.records_of(0).state[0].control.protection.margin.entry) == MID + 123.5
    q.decide(START_NS)
    view = q.view(0)
    assert view["acting"] == []
    assert view["acted"] == {}
    assert view["clamped_share"] == 0.0
    assert q.too_clamped() == 0.0


def _touch():
    ev = records(2, EVENT)
    ev["kind"], ev["tick"], ev["lots"] = (BID, ASK), (MID - 5, MID + 5), 100
    ev["ts_exch_ns"] = ev["ts_recv_ns"] = START_NS
    ev[1]["flags"] = LAST
    return ev


# --- every parameter counts ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_moves_the_final_quote(model):
    cfg = RunConfig.model_validate(base({"fee_floor": {"margin_bps": -3}, "regime": {}}, model={"name": model}))
    found = sensitivity(cfg, instrument(), 60_000.0)
    assert set(found) == set(PARAMETERS)
    dead = {name for name, s in found.items() if not s.moved}
    assert dead == ({"A"} if model == "avellaneda_stoikov" else set())  # which does not know A
    assert not any(q.clamped for s in found.values() for q in s.base)


def test_a_clamp_that_hides_the_model_is_found_out():
    cfg = RunConfig.model_validate(
        base(None, strategy={"spread": {"min": "9 bps", "max": "9 bps", "max_skew": "0 bps"}})
    )
    found = sensitivity(cfg, instrument(), 60_000.0)
    assert not any(s.moved for s in found.values())
    assert all(q.clamped for s in found.values() for q in s.base)


def test_more_than_a_tenth_of_clamped_quotes_is_an_alert():
    samples = records(2, SAMPLE)
    samples["ts_ns"] = 1, 9
    assert watch_bounds(0.1, samples) == ()
    (alert,) = watch_bounds(0.25, samples)
    assert (alert.monitor, alert.first_ns, alert.last_ns, alert.worst, alert.limit) == (
        "clamped_share",
        1,
        9,
        0.25,
        0.1,
    )
    assert watch_bounds(0.25, samples[:0]) == ()


def test_the_live_shell_says_when_the_bounds_quote():
    box = Box(base(None, strategy={"spread": {"min": "9 bps", "max": "9 bps"}})).touch()
    q = Quoter(box.cfg, [box.instrument])
    q.on_events(_touch())
    state = q.records_of(0).state[0]
    state.decision, state.clamped = 1000, 90
    assert q.too_clamped() == 0.0
    state.clamped = 300
    assert q.too_clamped() == 0.3
    state.decision, state.clamped = 100, 100  # too few to say
    assert q.too_clamped() == 0.0


# --- config ----------------------------------------------------------------------------------------------------------
def refused(controls, says, inst=None, **more):
    with pytest.raises((ConfigError, ValueError), match=says):
        resolve(RunConfig.model_validate(base(controls, **more)), inst or instrument(), 60_000.0)


def test_config_errors_teach():
    refused({"displacement": {"start": 5, "full": 4}}, "full 4 sigmas must be above start 5 sigmas")
    refused({"regime": {"resume": 27}}, "need resume <= soften <= pull")
    refused({"volatility": {"pull": "1 bps/day"}}, "need resume <= soften <= pull")
    refused({"cooldown": {"resume_at": 5}}, "resume_at <= widen_at <= pause_at")
    refused({"inventory": {"soft": "100 lots"}}, "soft 100 lots must be below the hard limit of 100 lots")
    refused({"inventory": {"soft_usd": 5, "hard_usd": 5}}, "soft_usd 5 must be below hard_usd 5")
    refused({"inventory": {"hard": "1 ETH"}}, "not in the units of BTC-USDT")
    refused({"fee_floor": {"margin_bps": 600}}, "no quote could earn its fees")
    refused({"session": {"end": "25:00"}}, "write it like '21:30'")
    refused({"session": {"end": "21:00", "flatten": "20h", "widening": "5h"}}, "leave some of the day")
    refused({"rebalance": {"limit": "5 lots", "resume": "6 lots"}}, "resume 6 lots is above limit 5 lots")
    refused({"rebalance": {"limit": "1 lots"}}, "limit 1 lots is below the smallest order of 3 lots", COARSE)
    refused({"inventory": {"hard_usd": 10}}, "hard_usd 10 is 0 lots at 60000, below the smallest order")
    refused({"inventory": {"soft": "50 lots", "hard_usd": 600}}, "soft limit of 50 lots .* hard limit of 10 lots")
    refused({"inventory": {"soft_usd": 1e9}}, "hard limit of 100 lots: it would never act")
    refused({"thin_book": {"min": "1e30 usd"}}, "thin_book.min: 1E.30 usd is more than")
    refused({"session": {"end": "09:00", "start": "08:59"}}, "between start and end")
    refused({"liquidation": {"below": 0.5, "resume": 0.2}}, "below <= resume")
    refused({"liquidation": {}}, "nothing liquidates it", instrument(kind="spot"))
    refused({"liquidation": {}}, "tiers is empty", risk={"margin": {"tiers": []}})
    refused({"thin_book": {"min": 5}}, "has no unit")
    refused({"adx": {}}, "adx")
    refused(None, "a target is for spot", strategy={"target_inventory": "5 lots"})


def test_a_remainder_too_small_for_an_order_holds_nothing_up():
    """Two lots where the smallest order is three cannot be reduced: both sides are quoted again."""
    controls = {"rebalance": {"limit": "50 lots", "resume": "0 lots"}, "liquidation": {}}
    s = Stage(controls, risk={"leverage": 10, "max_leverage": 10}).mid()
    r = s.box.r
    r.params[0].min_lots = 3
    r.params[0].control.rebalance.resume_lots = 2  # what ``resolve`` makes of it, below
    s.fill(BUY_SIDE, 2, MID)
    r.state[0].control.rebalance = 1
    s.mark(round(0.915 * MID)).mid(-5000)  # liquidation at 0.905
    q, acts = s.quote(2)
    assert (q.bid_lots, q.ask_lots) == (10, 10)
    assert acts == set()
    q, acts = s.quote(3)  # three can be sold, and so must be
    assert (q.bid_lots, q.ask_lots) == (0, 3)
    assert acts == {"liquidation"}
    made = resolve(RunConfig.model_validate(base({"rebalance": {"limit": "50 lots", "resume": "0 lots"}})), COARSE, 6e4)
    assert int(made.params[0].control.rebalance.resume_lots) == 2


def test_a_config_writes_itself_back():
    cfg = RunConfig.model_validate(base({"session": {"end": 1290}, "volatility": {}, "cooldown": {}}))
    again = RunConfig.model_validate_json(cfg.model_dump_json())
    assert again == cfg
    assert again.strategy.controls.session.end == 21 * 60 + 30
    assert '"21:30"' in cfg.model_dump_json()


def test_a_session_of_hours():
    p = resolve(
        RunConfig.model_validate(base({"session": {"end": "23:00", "start": "01:30"}})), instrument(), 6e4
    ).params
    day = p[0].control.session
    assert (int(day.end_ns), int(day.closed_ns)) == (23 * 3600 * SECOND, 9000 * SECOND)
    assert SESSION_DAY.names == ("end_ns", "closed_ns", "flatten_ns", "widen_ns", "extra")


def test_only_what_is_asked_for_is_on():
    for controls, on, watched in (({}, 0, 0), ({"fee_floor": {}}, 1, 0), ({"momentum": {}}, 1, 1)):
        r = resolve(RunConfig.model_validate(base(controls)), instrument(), 60_000.0)
        assert int(r.params[0].controls).bit_count() == on
        assert int(r.watch[0].settings.on) == watched
