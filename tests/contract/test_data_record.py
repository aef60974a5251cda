"""`data record` on a local Bybit: parts, gaps, lost connections, what a kill leaves, refusals."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.record import Limits, Progress, Recorder, limits_of
from actors.recorder import RAW_HEADER, read_raw
from actors.recording import FILE, Recording, read_about
from mm.core.instrument import Instrument
from mm.core.types import ASK, BID, BUY, CLEAR_ASK, CLEAR_BID, LAST, SELL, SNAPSHOT
from mm.data.quality import Checker
from mm.data.store import Store
from mm.errors import ConfigError, DataError, VenueUnreachable
from mm.venues.registry import get_venue
from tests.contract.bybit_local import BTC, ETH, MID, Local, local_bybit
from tests.contract.conformance.wait import until

INSTRUMENTS = [Instrument.from_dict(BTC), Instrument.from_dict(ETH)]


def recording(path: Path) -> Recording:
    return Recording(path, "bybit", "local", INSTRUMENTS)


async def recorded(path: Path, play: Any, limits: Limits | None = None) -> dict[str, Any]:
    """Record while ``play(local, recorder)`` runs."""
    async with local_bybit() as local:
        found = recording(path)
        options = {k: v for k, v in local.options.items() if not k.startswith("api")}
        client = get_venue("bybit").make_public({**options, "stall_s": 1.0}, ["BTCUSDT", "ETHUSDT"])
        recorder = Recorder(found, client, limits or Limits(min_free=0))
        told: list[Progress] = []
        running = asyncio.create_task(recorder.run(told.append))
        try:
            await until(lambda: recorder.frames > 0)
            await play(local, recorder)
            recorder.stop("test")
            await asyncio.wait_for(running, 20)
        finally:
            running.cancel()
            await client.close()
            found.close()
        return recorder.summary() | {"told": told}


async def flow(local: Local, recorder: Recorder, n: int, step: int = 1) -> None:
    """Levels that move and a trade in each of ``n`` rounds."""
    for k in range(n):
        known = recorder.frames
        local.play(
            (BID, MID - 50 + k * step, 10 + k), (ASK, MID + 60 + k * step, 20 + k), (BUY, MID + 60 + k * step, 3)
        )
        await until(lambda known=known: recorder.frames > known)
    await asyncio.sleep(0.1)


def stores(path: Path, symbol: str = "BTCUSDT") -> list[Store]:
    return [Store.open(p) for p in sorted((path / symbol).iterdir()) if not p.name.startswith(".")]


def book_after(parts: list[Store]) -> dict[int, set[tuple[int, int]]]:
    """The levels at the end of some stores, played one after the other into one book."""
    checker = Checker((MID - 5000, 10_000))
    for store in parts:
        checker.feed(store.events())
    base = int(checker.book[0].base_tick)
    return {side: {(int(k) + base, int(levels[k])) for k in np.flatnonzero(levels)}
            for side, levels in ((BID, checker.bids), (ASK, checker.asks))}  # fmt: skip


def recovered(path: Path, copy: Path, *, torn: int = 0) -> Path:
    """A copy as a process that was killed would have left it: raw frames, no stores of the last part."""
    shutil.copytree(path, copy)
    about = json.loads((copy / FILE).read_text())
    last = max(about["parts"])
    del about["parts"][last]
    (copy / FILE).write_text(json.dumps(about))
    raw = copy / "raw" / f"{last}.bin"
    if torn:
        raw.write_bytes(raw.read_bytes()[:-torn])
    for symbol in ("BTCUSDT", "ETHUSDT"):
        shutil.rmtree(copy / symbol / last, ignore_errors=True)
        (copy / symbol / f".{last}.99.partial").mkdir(parents=True)
    found = recording(copy)
    assert found.recover() == [last]
    found.close()
    assert not list(copy.glob("*/.*.partial"))
    return copy


def test_parts_are_whole_and_come_again_from_the_raw_frames(tmp_path: Path) -> None:
    limits = Limits(rotate_bytes=4_000, min_free=0)
    out = tmp_path / "r"
    found = asyncio.run(recorded(out, lambda local, r: flow(local, r, 30), limits))
    parts = stores(out)
    assert len(parts) == found["parts"] == len(read_about(out)["parts"]) > 2
    assert (found["gaps"], found["reconnects"], found["bad_frames"]) == (0, 0, 0)
    codec, said = get_venue("bybit").make_codec(INSTRUMENTS, "x"), []
    for raw in sorted((out / "raw").iterdir()):
        said += [codec.decode_public(f.raw, f.ts_recv_ns).events for f in read_raw(raw) if f.number]
    wanted = sum(np.count_nonzero((e["kind"] == BUY) & (e["instrument"] == 0)) for e in said)
    assert sum(np.count_nonzero(s.kind == BUY) for s in parts) == wanted >= 30
    for store in parts:
        assert list(store.kind[:2]) == [CLEAR_BID, CLEAR_ASK]
        assert store.flags[-1] & LAST
        assert store.meta["quality"]["crossed"] == 0
        assert np.all(store.ts_exch_ns <= store.ts_recv_ns)
    assert book_after(parts) == book_after(parts[-1:]), "a part needs no other"
    assert (MID - 21, 39) in book_after(parts)[BID]
    frames = [f for raw in sorted((out / "raw").iterdir()) for f in read_raw(raw)]
    assert sum(f.number > 0 for f in frames) == found["frames"]
    again = stores(recovered(out, tmp_path / "again"))
    assert [s.data_hash for s in again] == [s.data_hash for s in parts]
    torn = stores(recovered(out, tmp_path / "torn", torn=5))
    assert len(torn[-1]) < len(parts[-1])
    assert np.array_equal(torn[-1].tick, parts[-1].tick[: len(torn[-1])])


def test_a_gap_is_marked_and_healed(tmp_path: Path) -> None:
    async def play(local: Local, recorder: Recorder) -> None:
        await flow(local, recorder, 3)
        local.face.change_faults({"lose_public": 1})
        local.play((BID, MID - 30, 77))
        await asyncio.sleep(0.2)
        local.play((BID, MID - 31, 78))
        await until(lambda: recorder.summary()["gaps"] == 1)
        await flow(local, recorder, 3)

    found = asyncio.run(recorded(tmp_path / "r", play))
    (store,) = stores(tmp_path / "r")
    void = np.flatnonzero((store.kind == CLEAR_ASK) & (store.flags == SNAPSHOT | LAST))
    assert len(void) == found["gaps"] == store.meta["quality"]["gaps"] == 1
    assert {(MID - 30, 77), (MID - 31, 78)} <= book_after([store])[BID]
    assert stores(recovered(tmp_path / "r", tmp_path / "again"))[0].data_hash == store.data_hash


def test_a_lost_connection_is_made_again(tmp_path: Path) -> None:
    async def play(local: Local, recorder: Recorder) -> None:
        await flow(local, recorder, 2)
        for fault in ("drop", "stall"):
            before, known = recorder.reconnects, recorder.frames
            if fault == "drop":
                local.face.drop("public", hard=True)
            else:
                local.face.change_faults({"stall_public": True, "no_pong": True})
            await until(lambda before=before: recorder.reconnects > before)
            local.face.change_faults({"stall_public": False, "no_pong": False})
            await until(lambda known=known: recorder.frames > known + 2)
        local.play((SELL, MID - 100, 1))
        await asyncio.sleep(0.2)

    found = asyncio.run(recorded(tmp_path / "r", play))
    assert found["reconnects"] >= 2
    (store,) = stores(tmp_path / "r")
    assert store.meta["quality"]["gaps"] >= 2
    assert SELL in store.kind[-6:]
    marks = sum(f.number == 0 for raw in (tmp_path / "r" / "raw").iterdir() for f in read_raw(raw))
    assert marks == 1 + found["reconnects"]
    assert stores(recovered(tmp_path / "r", tmp_path / "again"))[0].data_hash == store.data_hash


def test_it_goes_on_in_the_same_directory(tmp_path: Path) -> None:
    for n in (1, 2):
        asyncio.run(recorded(tmp_path / "r", lambda local, r: flow(local, r, 4)))
        assert len(stores(tmp_path / "r")) == len(read_about(tmp_path / "r")["parts"]) == n


def test_a_nearly_full_disk_and_the_progress(tmp_path: Path) -> None:
    async def play(local: Local, recorder: Recorder) -> None:
        await flow(local, recorder, 3)
        await until(lambda: recorder.stopped)

    found = asyncio.run(recorded(tmp_path / "r", play, Limits(min_free=10**18)))
    assert found["stopped"].startswith("the disk is nearly full: ")
    assert len(stores(tmp_path / "r")) == 1

    async def wait(local: Local, recorder: Recorder) -> None:
        await flow(local, recorder, 3)
        await until(lambda: recorder.stopped)

    found = asyncio.run(recorded(tmp_path / "s", wait, Limits(duration_s=1.6, min_free=0)))
    assert found["stopped"] == "duration"
    assert "messages/s" in str(found["told"][0])
    assert found["told"][0].raw_bytes > 0


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.record._GIVE_UP_S", 0.5)

    async def go() -> None:
        found = recording(tmp_path / "r")
        nowhere = {"network": "local", "rest_url": "http://127.0.0.1:9", "ws_url": "ws://127.0.0.1:9"}
        client = get_venue("bybit").make_public(nowhere, ["BTCUSDT", "ETHUSDT"])
        try:
            with pytest.raises(VenueUnreachable):
                await Recorder(found, client, Limits(min_free=0)).run()
        finally:
            await client.close()
            found.close()

    asyncio.run(go())
    assert (tmp_path / "r" / FILE).exists()


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(ConfigError, match="is not a recording"):
        recording(tmp_path / "full")
    first = recording(tmp_path / "r")
    with pytest.raises(ConfigError, match="another process records there"):
        recording(tmp_path / "r")
    first.close()
    with pytest.raises(ConfigError, match="is a recording of bybit local BTCUSDT,ETHUSDT, not of bybit local BTCUSDT:"):
        Recording(tmp_path / "r", "bybit", "local", INSTRUMENTS[:1])
    (tmp_path / "r" / FILE).write_text("{}")
    with pytest.raises(DataError, match="not the file of a recording"):
        recording(tmp_path / "r")


def test_a_part_without_a_market_has_no_store(tmp_path: Path) -> None:
    found = recording(tmp_path / "r")
    raw = tmp_path / "r" / "raw" / "1.bin"
    raw.write_bytes(RAW_HEADER.pack(5, 0) + RAW_HEADER.pack(6, 3) + b"{x}" + RAW_HEADER.pack(7, 100) + b"torn")
    assert found.recover() == ["1"]
    assert found.parts == {"1": {}}
    found.close()


def test_words() -> None:
    assert limits_of("1h", "8h", "5GB") == Limits(3600.0, None, 28_800.0, 5 * 10**9)
    assert limits_of("500MB", None, None).rotate_bytes == 500_000_000
    for words in (("soon", None, None), (None, "0s", None), (None, None, "much"), ("1.2.3gb", None, None)):
        with pytest.raises(ConfigError):
            limits_of(*words)
