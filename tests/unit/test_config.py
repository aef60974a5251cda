"""Configs: defaults survive a round trip, and every mistake is one line with file, line, key and a way out."""

import json
from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mm.config import RunConfig, load_config, load_raw, validate
from mm.config.load import RawConfig, apply_override
from mm.core.units import PerPrice, Size
from mm.errors import ConfigError
from mm.strategy.setup import resolve
from tests.reference.kernel_box import Box, instrument


@pytest.fixture
def load(tmp_path):
    def go(text, *overrides):
        path = tmp_path / "run.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, list(overrides))

    return go


def error(load, text, *overrides):
    with pytest.raises(ConfigError) as caught:
        load(text, *overrides)
    return str(caught.value)


def test_defaults_round_trip_through_json_and_yaml(load):
    cfg = load("")
    assert cfg == RunConfig()
    text = cfg.model_dump_json()
    assert RunConfig.model_validate(json.loads(text)) == cfg
    assert load(yaml.safe_dump(json.loads(text))) == cfg


ODD = """
name: odd
strategy:
  model: {gamma: 0.3/bp, kappa: 0.05/$, sigma: 7%/day, xi: 0.1/tick, mu: -0.1 bps, horizon: 1h, A: 1e-3}
  order_size: 0.12345678901234567890 btc
  max_inventory: 7 lots
  spread: {min: $1.5, max: 33 ticks}
sim: {feed_latency: 3ms, decide_every: message, maker_fee: -0.5 bps, queue: {model: log}}
live: {venues: [{name: a}, {name: b, exchange: {maker_fee: 0.01%}}], duration: 90s}
"""


def test_an_odd_config_round_trips_exactly(load):
    cfg = load(ODD)
    assert RunConfig.model_validate(json.loads(cfg.model_dump_json())) == cfg
    assert cfg.strategy.model.A == 0.001
    assert cfg.strategy.order_size == Size.parse("0.12345678901234567890 btc")


@pytest.mark.parametrize("per", ["ns", "us", "ms", "s", "min", "h", "day", "year"])
def test_any_time_of_sigma_round_trips(load, per):
    cfg = load(f"strategy: {{model: {{sigma: 7.3%/{per}}}}}")
    assert RunConfig.model_validate(json.loads(cfg.model_dump_json())) == cfg


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: 1\nstrategy:\n  modle: {}\n",
            ["run.yaml:1: a: unknown key", "run.yaml:3: strategy.modle: unknown key; did you mean 'model'?"],
        ),
        (
            "strategy:\n  model:\n    gamma: {qmax: 3}\n",
            [
                "run.yaml:3: strategy.model.gamma.q_max: Field required",
                "gamma.qmax: unknown key; did you mean 'q_max'?",
            ],
        ),
        (
            "strategy:\n  model:\n    gamma: {q_max: -3}\n",
            ["run.yaml:3: strategy.model.gamma.q_max: Input should be greater than 0, got -3"],
        ),
        (
            "strategy: {model: {gamma: {value: 1.0, unit: parsec}}}",
            ["gamma.value: unknown key", "gamma.unit: unknown key"],
        ),
        (
            "strategy: {order_size: 100}",
            ["run.yaml:1: strategy.order_size: size: 100 has no unit; write it like '100 usd'"],
        ),
        ("strategy: {model: {sigma: 0.02}}", ["sigma: 0.02 has no unit"]),
        ("strategy: {model: {sigma: {sample: 5s, halflife: 1s}}}", ["need 0 < sample <= halflife"]),
        ("strategy: {model: {name: glft}}", ["strategy.model.name: Input should be 'avellaneda_stoikov'"]),
        ("strategy: {spread: {max_skew: -1 bps}}", ["strategy.spread.max_skew: must not be negative"]),
        ("strategy: {requote: {threshold: -1 ticks}}", ["threshold: must not be negative"]),
        ("strategy: {refresh: 5}", ["duration: 5 has no unit"]),
        ("risk:\n  leverage: 3\n", ["leverage 3 is above the lock max_leverage 1"]),
        ("risk: {max_drawdown_usd: .inf}", ["finite number"]),
        ("risk: {max_drawdown_usd: .nan}", ["risk.max_drawdown_usd: Input should be"]),
        ("sim: {maker_fee: 2}", ["sim.maker_fee: fee: 2 is 2 of notional"]),
        ("sim: {decide_every: foo}", ["Input should be 'message', got 'foo'", "cannot read 'foo'"]),
        (
            "live: {venues: [{name: a}, {nam: b}]}",
            ["live.venues.1.nam: unknown key; did you mean 'name'?", "live.venues.1.name: Field required"],
        ),
        ("live: {venues: [{name: a}, {name: a}]}", ["venue names must differ, got a, a"]),
        (
            "risk: {max_position: 50 usd}\nseed: 3\n",
            ["run.yaml:1: strategy.order_size 100 usd is above risk.max_position 50 usd: no order could ever be sent"],
        ),
        ("strategy: {model: {kappa: 0/bp}}", ["strategy.model.kappa: must be above 0"]),
        ("seed: [1, 2]\n", ["got [1, 2]; to sweep over it use `tune`"]),
        ("strategy: {model: {kappa: {uniform: [1/bp, 2/bp]}}}", ["kappa: value: expected", "; to sweep over it use"]),
        ("live: {venues: []}", ["live.venues: List should have at least 1 item after validation, not 0, got []"]),
        ("strategy:\n", ["run.yaml:1: strategy: expected a section of keys ("]),
        ("seed: 1\ntag: x\nseed: 2\n", ["run.yaml:3: key 'seed' is given twice"]),
        ("- a\n- b\n", ["run.yaml:1: expected a mapping of sections, got list"]),
        ("just text", ["got str"]),
        ("seed: [1\n", ["run.yaml:2: not valid YAML"]),
        ("seed: 1\n\tname: x\n", ["run.yaml:2: not valid YAML"]),
        ("a: 1\n---\nb: 2\n", ["not valid YAML"]),
        ("? [a, b]\n: c\n", ["run.yaml:1: a key must be a word"]),
        ("a: &x [1, *x]\n", ["a.1 contains itself"]),
        ("tag: 2024-13-45\n", ["not valid YAML: month must be in 1..12"]),
        ("seed: !!int abc\n", ["not valid YAML"]),
        ("seed: !!python/name:os.system x\n", ["not valid YAML"]),
        ("1: 2\n", ["run.yaml:1: 1: Keys should be strings"]),
        ("a\x00b: 1\n", ["not valid YAML"]),
        (b"name: \xff\xfe\n", ["cannot be read", "utf-8"]),
    ],
)
def test_errors_say_where_and_what(load, text, expected):
    message = error(load, text)
    for part in expected:
        assert part in message
    assert len(message.splitlines()) <= max(3, len(expected))


def test_files_that_are_not_there(tmp_path):
    (tmp_path / "other.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"does not exist; there are: .*other\.yaml"):
        load_config(tmp_path / "run.yaml")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "no" / "run.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_overrides(load):
    text = "strategy: {model: {gamma: 0.1, A: 2}}\nlive: {venues: [{name: a}, {name: b}]}\n"
    cfg = load(
        text, "strategy.model.A=1.5", "strategy.model.gamma.q_max=4", "live.venues.1.name=c", "strategy.order_size=$50",
        "tag=x=y", "strategy.spread.min=1 bps", "strategy.model.A=3",
    )  # fmt: skip
    assert cfg.strategy.model.A == 3  # the last one wins
    assert cfg.strategy.model.gamma.q_max == 4
    assert [v.name for v in cfg.live.venues] == ["a", "c"]
    assert cfg.strategy.order_size == Size.parse("50 usd")
    assert cfg.tag == "x=y"
    assert load(text).strategy.model.gamma == PerPrice(0.1, "$")  # the file is not changed


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("seed", "--set seed: expected KEY=VALUE"),
        ("=1", "expected KEY=VALUE"),
        ("seed=[1", "--set seed=[1: the value is not valid YAML: expected ',' or ']'"),
        ("seed=2024-13-45", "not valid YAML: month"),
        ("seed=", "--set seed=: seed: Input should be a valid integer, got None"),
        ("strategy.modle.A=1", "--set strategy.modle.A=1: strategy.modle: unknown key; did you mean 'model'?"),
        ("strategy.model.sigmma=1", "--set strategy.model.sigmma=1: strategy.model.sigmma: unknown key; did you mean"),
        ("seed.x=1", "--set seed.x=1: seed: Input should be a valid integer"),
        ("live.venues.2.name=x", "--set live.venues.2.name=x: live.venues is a list of 1; use 0..0"),
        ("live.venues.x.name=x", "live.venues is a list of 1"),
        ("live.venues.².name=x", "live.venues is a list of 1"),
        ("live.venues.0.name=A B", "--set live.venues.0.name=A B: live.venues.0.name: String should match"),
        ("risk.leverage=2", "--set risk.leverage=2: risk: leverage 2 is above the lock"),
        ("strategy.model.gamma={q_max: 0}", "--set strategy.model.gamma={q_max: 0}: strategy.model.gamma.q_max: Input"),
    ],
)
def test_override_errors(load, item, expected):
    text = "seed: 7\nlive: {venues: [{name: a}]}\nstrategy: {model: {gamma: {q_max: 5}}}\n"
    assert expected in error(load, text, item)


@given(st.text(max_size=30))
def test_any_override_is_taken_or_refused(text):
    raw = RawConfig({"live": {"venues": [{"name": "a"}]}, "strategy": {}})
    for item in (text, f"strategy.{text}", f"live.venues.{text}", f"seed={text}"):
        try:
            apply_override(raw, item)
            validate(raw)
        except ConfigError as exc:
            assert str(exc)  # noqa: PT017 - a crash is any other class


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_file_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        validate(load_raw(path))
    except ConfigError as exc:
        assert str(path) in str(exc)  # noqa: PT017


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"order_size": "4 usd"}, r"order_size: 4 usd is 0 lots of BTC-USDT, below the smallest order of 1 lots"),
        ({"order_size": "1 eth"}, "order_size: size: 1 ETH is not in the units of BTC-USDT"),
        ({"max_inventory": "1e300 usd"}, "more than"),
        ({"max_inventory": "1 eth"}, "strategy.max_inventory: size: 1 ETH"),
        ({"spread": {"min": "2 bps", "max": "1 bps"}}, "strategy.spread: min 120 ticks is above max 60 ticks"),
        ({"model": {"sigma": "0 bps/s"}}, "sigma=0.0"),
        ({"model": {"gamma": {"q_max": 0.5}}}, "above half an order"),
        ({"model": {"impact": "900 bps"}}, "impact"),
    ],
)
def test_what_does_not_fit_the_instrument(strategy, expected):
    with pytest.raises(ConfigError, match=expected):
        Box({"strategy": strategy})


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf"), 0.01])
def test_a_reference_price_must_be_a_price(price):
    with pytest.raises(ConfigError, match="reference price"):
        resolve(RunConfig(), instrument(), price)


def test_limits_are_what_the_config_says():
    box = Box({"risk": {"max_position": "1 btc", "leverage": 2, "max_leverage": 3, "initial_equity_usd": 3000}})
    lim = box.r.limits[0]
    assert lim.max_pos_lots == 1000
    assert lim.max_notional_usd == 6000  # the smaller of the limit and equity times leverage
    assert box.r.params[0].max_inventory_lots == 10 * box.r.params[0].order_lots


@pytest.mark.parametrize(
    ("order", "lots", "smallest"), [("100.5 usd", 167, 167), ("110 usd", 183, 183), ("300 usd", 500, 186)]
)
def test_a_shrunk_order_is_still_large_enough_after_the_price_has_fallen(order, lots, smallest):
    """$100 at $60,000 are 167 lots of 0.00001; at $54,000 they are 186, unless the order itself is smaller."""
    fine = instrument(lot_size=Decimal("0.00001"), min_notional=Decimal(100))
    p = Box({"strategy": {"order_size": order}}, inst=fine).r.params[0]
    assert (p.order_lots, p.min_lots) == (lots, smallest)
