"""Recorded sessions of every venue: a codec makes of them what it always made, and no damage to them raises."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm.core.types import FUNDING
from mm.venues.base import Codec, Decoded
from tests.contract.conformance.matrix import venues
from tests.contract.conformance.recording import TS_RECV_NS, Recorded, codec_of, decode, load, summary

pytestmark = pytest.mark.slow  # pure, but it loads every venue's codec: once, in the compiled part

ODD = (
    None, True, "", "x", -1, 0, 1.5, 1e308, 1 << 63, 1 << 70, "-1", "NaN", "Infinity", "1e999999", "9" * 60, "1e-7",
    [], {}, [[]], [["1"]], "BTC", "c0ffee00-", "\x00", "é",
)  # fmt: skip
_sessions: dict[str, list[Recorded]] = {}


def session(venue: str) -> list[Recorded]:
    if venue not in _sessions:
        _sessions[venue] = load(venue)
    return _sessions[venue]


@pytest.mark.parametrize("venue", venues())
def test_a_codec_makes_the_same_of_a_recorded_session(venue: str) -> None:
    for attempt in range(2):
        codec = codec_of(venue)
        for number, frame in enumerate(session(venue)):
            assert summary(decode(codec, frame.stream, frame.raw)) == frame.says, f"frame {number}, {attempt}"
    kinds = {row[0] for frame in session(venue) for part in ("events", "execs") for row in frame.says.get(part, ())}
    assert kinds >= {"clear_bid", "bid", "ask", "sell", "buy", "ack", "reject", "fill", "canceled", "cancel_reject"}


@pytest.mark.parametrize("venue", venues())
def test_after_a_new_connection_the_market_starts_anew(venue: str) -> None:
    codec = codec_of(venue)
    for _ in range(2):
        codec.reset()
        _starts_anew(codec, session(venue))


def _starts_anew(codec: Codec, frames: list[Recorded]) -> None:
    """The books of a session come out as recorded. Trades need not: venues repeat the last ones to a new connection."""
    for frame in frames:
        if frame.stream == "public":
            assert _book(summary(decode(codec, "public", frame.raw))) == _book(frame.says)


def _book(says: dict[str, Any]) -> Any:
    rows = [(kind, tick, lots) for kind, tick, lots, *_ in says.get("events", ()) if kind not in ("sell", "buy")]
    return rows, says.get("gap"), says.get("error")


# --- damage ----------------------------------------------------------------------------------------------------------
def _leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a JSON value."""
    rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at] * bool(at) + [path for key, inner in rows for path in _leaves(inner, (*at, key))]


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a JSON value with something else at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _with(value[path[0]], path[1:], new)
    return copy


@st.composite
def damaged(draw: st.DrawFn, raw: bytes) -> bytes:
    """A frame with one thing wrong: a JSON value replaced, or bytes flipped, cut, repeated or put in."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        value = None
    paths = _leaves(value)
    if paths and draw(st.booleans()):
        return msgspec.json.encode(_with(value, draw(st.sampled_from(paths)), draw(st.sampled_from(ODD))))
    a, b = sorted((draw(st.integers(0, len(raw))), draw(st.integers(0, len(raw)))))
    how = draw(st.sampled_from(("cut", "repeat", "flip", "insert", "truncate")))
    if how == "cut":
        return raw[:a] + raw[b:]
    if how == "repeat":
        return raw[:b] + raw[a:]
    if how == "truncate":
        return raw[:a]
    if how == "insert":
        return raw[:a] + draw(st.binary(max_size=12)) + raw[a:]
    return raw[:a] + bytes([raw[a] ^ (1 << draw(st.integers(0, 7)))]) + raw[a + 1 :] if a < len(raw) else raw


@pytest.mark.parametrize("venue", venues())
@settings(max_examples=60)
@given(data=st.data())
def test_no_damaged_frame_raises(venue: str, data: st.DataObject) -> None:
    """Damage in the middle of a session: a ``Decoded`` every time, sane records, and true frames decode afterwards."""
    frames = session(venue)
    codec = codec_of(venue)
    where = data.draw(st.sets(st.integers(0, len(frames) - 1), min_size=1, max_size=8))
    for number, frame in enumerate(frames):
        if number in where:
            raw = data.draw(damaged(frame.raw))
            for stream in ("public", "private"):  # either stream may get anything
                _check(codec.decode_public(raw, 1) if stream == "public" else codec.decode_private(raw, 1))
        else:
            _check(decode(codec, frame.stream, frame.raw))
    codec.reset()
    _starts_anew(codec, frames)


def _check(decoded: Decoded) -> None:
    assert isinstance(decoded, Decoded)
    assert len(decoded.execs) == len(decoded.exec_detail)
    assert set(decoded.gap) <= {0}
    assert all(int(e["instrument"]) == 0 and int(e["tick"]) >= 0 for e in decoded.events)
    assert all(int(e["lots"]) >= 0 for e in decoded.events if e["kind"] != FUNDING)
    assert all(int(e["instrument"]) == 0 and int(e["lots"]) >= 0 for e in decoded.execs)
    assert all(d.fee.is_finite() for d in decoded.exec_detail)
    assert all(n.amount.is_finite() for n in decoded.news)
    assert isinstance(decoded.error, str)
    assert len(decoded.error) < 2_000


@pytest.mark.parametrize("venue", venues())
@settings(max_examples=60)
@given(raw=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12,
).map(msgspec.json.encode)))  # fmt: skip
def test_no_foreign_frame_raises(venue: str, raw: bytes) -> None:
    codec = codec_of(venue)
    for decoded in (codec.decode_public(raw, TS_RECV_NS), codec.decode_private(raw, TS_RECV_NS)):
        _check(decoded)
        assert not len(decoded.events)
        assert not len(decoded.execs)
