"""The suite itself: its cases catch adapters that lie, and no venue is called supported without them."""

from __future__ import annotations

import asyncio
from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from mm.venues.native.client import NativeTradingClient
from mm.venues.native.codec import NativeCodec
from mm.venues.registry import VENUES
from tests.contract.conformance import doc, matrix, wait
from tests.contract.conformance.cases import all_cases
from tests.contract.conformance.rig import Rig

pytestmark = pytest.mark.slow


def outcome(*numbers: int) -> list[str]:
    cases = [case for case in all_cases() if case.number in numbers]
    return [result.outcome for result in matrix.run_venue("native", cases).values()]


def test_there_are_all_the_cases_of_the_issue() -> None:
    numbers = [case.number for case in all_cases()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 34
    assert all(case.run.__doc__ for case in all_cases())


def test_every_venue_of_the_registry_is_under_test() -> None:
    assert set(matrix.venues()) == set(VENUES) - set(matrix.EXEMPT) | set(matrix.GENERIC)


def test_a_venue_that_fails_or_misses_a_case_is_not_listed() -> None:
    good = {case.id: {"outcome": "n/a" if case.number == 9 else "pass"} for case in all_cases()}
    worse = {**good, all_cases()[4].id: {"outcome": "fail"}}
    fewer = {name: result for name, result in good.items() if not name.startswith("34")}
    assert matrix.listed({"good": good, "worse": worse, "fewer": fewer}) == ["good"]


def test_the_page_has_no_column_for_a_venue_that_fails() -> None:
    results = {"native": {case.id: {"outcome": "pass", "note": ""} for case in all_cases()}, "worse": {}}
    report = {
        "machine": "m",
        "data": "d",
        "notes": {},
        "cases": {f"{v} place p50": {"ours": 1.5, "unit": "ms"} for v in results},
    }
    page = doc.page(results, report)
    assert "| case | what must hold | native |" in page
    assert page.count("| pass |") == len(all_cases())
    assert "| place p50 [ms] | 1.5 |" in page
    assert "worse" not in page


def test_the_page_is_of_the_venues_and_cases_that_there_are() -> None:
    """After a change: ``python -m tests.contract.conformance --write``."""
    page = doc.PAGE.read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    (head,) = [row for row in rows if row[:2] == ["case", "what must hold"]]
    assert sorted(head[2:]) == sorted(matrix.venues()), "a venue of the registry failed when the page was written"
    told = [row for row in rows if row[0].isdigit()]
    assert [(row[0], row[1].split("**")[1]) for row in told] == [(str(c.number), c.title) for c in all_cases()]
    assert {outcome for row in told for outcome in row[2:]} == {"pass", "n/a"}
    assert doc.support(head[2:]) in page


# --- adapters that lie -----------------------------------------------------------------------------------------------
_private, _public = NativeCodec.decode_private, NativeCodec._depth
_place, _fills = NativeTradingClient.place, NativeTradingClient.fills


def _changed(field: str, value: Any) -> Any:
    def decode(codec: NativeCodec, raw: bytes, ts: int) -> Any:
        decoded = _private(codec, raw, ts)
        if len(decoded.execs):
            decoded.execs[field] = value
        return decoded

    return decode


def _twice(codec: NativeCodec, raw: bytes, ts: int) -> Any:
    decoded = _private(codec, raw, ts)
    decoded.execs, decoded.exec_detail = decoded.execs.repeat(2), decoded.exec_detail * 2
    return decoded


def _ignores_gaps(codec: NativeCodec, message: Any, ts: int) -> Any:
    i = codec._index[message.symbol]
    if codec._seq[i] is not None:
        codec._seq[i] = message.prev_seq
    return _public(codec, message, ts)


def _reversed(codec: NativeCodec, message: Any, ts: int) -> Any:
    message.bids = message.bids[1:]
    return _public(codec, message, ts)


async def _rounds(self: Any, symbol: str, cid: str, side: int, price: Decimal, size: Decimal) -> None:
    await _place(self, symbol, cid, side, price.quantize(Decimal("0.1"), ROUND_DOWN), size)


async def _sends_twice(self: Any, symbol: str, cid: str, *order: Any) -> None:
    await _place(self, symbol, cid, *order)
    await _place(self, symbol, cid + "0", *order)


async def _nothing(*_: Any) -> list[Any]:
    return []


@pytest.mark.parametrize(
    ("case", "target", "lie"),
    [
        (3, (NativeCodec, "_depth"), _reversed),
        (4, (NativeCodec, "_depth"), _ignores_gaps),
        (8, (NativeCodec, "decode_private"), _twice),
        (8, (NativeTradingClient, "place"), _sends_twice),
        (8, (NativeTradingClient, "open_orders"), _nothing),
        (11, (NativeTradingClient, "place"), _rounds),
        (14, (NativeCodec, "decode_private"), _changed("maker", 0)),
        (14, (NativeCodec, "decode_private"), _changed("side", -1)),
        (15, (NativeTradingClient, "fills"), _nothing),
        (27, (NativeTradingClient, "fills"), _nothing),
        (34, (NativeTradingClient, "open_orders"), _nothing),
        (48, (NativeTradingClient, "place"), _sends_twice),
        (48, (NativeTradingClient, "fills"), _nothing),
        (49, (NativeCodec, "_depth"), _ignores_gaps),
    ],
)  # fmt: skip
def test_an_adapter_that_lies_is_caught(
    case: int, target: tuple[type, str], lie: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome(case) == ["pass"]
    monkeypatch.setattr(wait, "LIMIT_S", 0.5)
    monkeypatch.setattr(*target, lie)
    assert outcome(case) == ["fail"]


def test_a_client_that_leaves_a_task_behind_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        rig = Rig("native")
        await rig.start()
        await rig.begin()
        task = asyncio.create_task(asyncio.sleep(60))
        with pytest.raises(AssertionError, match="sleep"):
            await rig.end()
        task.cancel()
        await rig.stop()

    asyncio.run(run())
