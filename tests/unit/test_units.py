"""Quantities: what is read, what is refused, and that the text written is read back as the same value."""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm.config.quantities import unit_text
from mm.core.units import Distance, PerPrice, Size, Volatility, parse_fee, parse_seconds
from tests.reference.kernel_box import instrument

BTC = instrument()  # tick 0.1, lot 0.001
PARSERS = [parse_seconds, parse_fee, Distance.parse, Volatility.parse, PerPrice.parse, Size.parse]

numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.integers().map(str)
units = st.sampled_from(
    ["", "bps", "bp", "%", "ticks", "$", "usd", "s", "ms", "µs", "d", "base", "BTC", "lots", "contracts", "/bp", "/$",
     "/day", " bps/sqrt(s)", "%/√day", "/tick", "$/s", "/", "²", ",5 usd", "_", "\n"]
)  # fmt: skip
anything = st.one_of(
    st.text(max_size=12), st.builds("{}{}".format, numbers, units), st.builds("${}".format, numbers),
    st.builds("{} {}".format, numbers, units), st.floats(), st.integers(), st.sampled_from([10**400, -(10**400)]),
    st.none(), st.booleans(), st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.none()),
    st.decimals(), st.sampled_from(["1e999 bps", "9" * 5000 + " usd", "1e-999999999 btc", "1e99999999999999999999"]),
)  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS)
@given(value=anything)
def test_any_input_is_read_or_refused(parse, value):
    try:
        got = parse(value)
    except ValueError:
        return
    if isinstance(got, float):
        assert 0 <= got < 1e10
        assert parse(f"{got!r}s") == got
    elif isinstance(got, Decimal):
        assert abs(got) <= Decimal("0.05")
        assert parse(str(got)) == got
    else:
        assert math.isfinite(got.value)
        assert parse(unit_text(got)) == got


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("5m", 300), ("5 min", 300), ("250ms", 0.25), ("8h", 28800), ("1d", 86400), ("1_000 s", 1000),
     ("1,000s", 1000), ("10us", 1e-5), ("7ns", 7e-9), ("1e3 s", 1000), (".5s", 0.5), ("0s", 0)],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_seconds(text) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "fee"),
    [("2 bps", "0.0002"), ("-0.5bp", "-0.00005"), ("0.02%", "0.0002"), (0.0002, "0.0002"), (0, "0"), ("5%", "0.05"),
     ("2 BPS", "0.0002")],
)  # fmt: skip
def test_fees_are_exact(value, fee):
    assert parse_fee(value) == Decimal(fee)


@pytest.mark.parametrize("value", [2, "6%", "-501 bps", "1 usd", True, None, "1e5", "nan"])
def test_fees_refused(value):
    with pytest.raises(ValueError, match="fee"):
        parse_fee(value)


@pytest.mark.parametrize(
    ("text", "ticks"), [("5 bps", 300), ("0.05%", 300), ("3 ticks", 3), ("$5", 50), ("5 usdt", 50), ("-1bp", -60)]
)
def test_distances_in_ticks(text, ticks):
    assert Distance.parse(text).ticks(BTC, 60_000.0) == pytest.approx(ticks, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "ticks"),
    [("2%/day", 12_000 / math.sqrt(86400)), ("0.7 bps/sqrt(s)", 42), ("$6.8/√s", 68), ("60 ticks/min", math.sqrt(60)),
     ("1 bps/sqrt(ms)", 60 / math.sqrt(1e-3)), ("10%/year", 60_000 / math.sqrt(365 * 86400))],
)  # fmt: skip
def test_volatilities(text, ticks):
    assert Volatility.parse(text).ticks_per_sqrt_s(BTC, 60_000.0) == pytest.approx(ticks, rel=1e-12)
    again = Volatility.parse(unit_text(Volatility.parse(text)))
    assert again.ticks_per_sqrt_s(BTC, 60_000.0) == pytest.approx(ticks, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "per_tick"),
    [("0.3/bp", 0.3 / 60), ("0.05/$", 0.005), (0.05, 0.005), ("0.05", 0.005), ("0.01/tick", 0.01)],
)
def test_per_price(value, per_tick):
    assert PerPrice.parse(value).per_tick(BTC, 60_000.0) == pytest.approx(per_tick, rel=1e-12)
    assert PerPrice.parse("0/bp").per_tick(BTC, 60_000.0) == 0.0


@pytest.mark.parametrize(
    ("text", "lots"),
    [("100 usd", 1), ("$119.9", 1), ("$120", 2), ("0.0029 btc", 2), ("0.003 base", 3), ("7 lots", 7), ("1,000 usd", 16),
     ("0.123456789012345678901234567890 base", 123), ("9007199254740993 lots", 9007199254740993)],
)  # fmt: skip
def test_sizes_round_down_and_keep_every_digit(text, lots):
    assert Size.parse(text).lots(BTC, 60_000.0) == lots


def test_sizes_of_an_inverse_contract():
    inverse = instrument(kind="inverse", lot_size=Decimal(1), contract_value=Decimal(100))
    assert Size.parse("2500 usd").lots(inverse, 60_000.0) == 25
    assert Size.parse("7 contracts").lots(inverse, 60_000.0) == 7
    assert Size.parse("0.01 btc").lots(inverse, 60_000.0) == 6


def test_a_size_in_another_coin_is_refused():
    with pytest.raises(ValueError, match=r"ETH is not in the units of BTC-USDT \(usd, BTC, lots\)"):
        Size.parse("1 eth").lots(BTC, 60_000.0)


@pytest.mark.parametrize("text", ["0,5 btc", "1,5 usd", "1,00 usd", "0,500 btc", "1.5,000 usd", "12,34,567 usd"])
def test_a_decimal_comma_is_not_dropped(text):
    with pytest.raises(ValueError, match="size"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (parse_seconds, 60, "60 has no unit; write it like '60s'"),
        (parse_seconds, "1e300 s", "100 years"),
        (parse_seconds, "-1s", "between 0"),
        (parse_seconds, "5 parsecs", "unknown unit 'parsecs'"),
        (Distance.parse, 5, "write it like '5 bps'"),
        (Distance.parse, True, "got True"),
        (Volatility.parse, "2%", "does not say per which time"),
        (Volatility.parse, "-1 bps/s", "must not be negative"),
        (Volatility.parse, "2 bps/fortnight", "unknown time 'fortnight'"),
        (PerPrice.parse, "1/parsec", "unknown unit 'parsec'"),
        (PerPrice.parse, -1, "not negative"),
        (PerPrice.parse, math.inf, "finite"),
        (Size.parse, "5", "has no unit"),
        (Size.parse, "-5 usd", "must not be negative"),
        (Size.parse, ["5 usd"], "got list"),
    ],
)
def test_refusals_say_how_to_write_it(parse, value, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse(value)
