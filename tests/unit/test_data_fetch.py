"""`data fetch` against a local exchange: pages, troubles, resume, sources, continuity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from actors.fetch import Request, Source, fetch, fetch_command
from mm.data.fetched import FetchFile
from mm.data.importers import import_files
from mm.errors import ConfigError, DataError, VenueUnreachable
from tests.reference.ccxt_server import FUNDING, STEP, Server, candle

T0 = 1_704_067_200_000  # 2024-01-01
N = 2_500
SYMBOL = "BTC/USDT:USDT"
CANDLES = Request("candles", SYMBOL, T0, T0 + N * STEP, "5m")


def run(
    server: Server, out: Path, request: Request = CANDLES, names: str = "bybit", address: str = ""
) -> dict[str, Any]:
    waits: list[float] = []
    sources = [Source(name, address or server.address, waits.append) for name in names.split(",")]
    report = fetch(request, sources, out)
    return report | {"waits": waits}


def rows(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()[1:]]


def whole(path: Path, n: int = N) -> None:
    got = [(int(r[0]), *map(float, r[1:6])) for r in rows(path)]
    assert got == [(T0 + k * STEP, *candle(T0 + k * STEP)) for k in range(n)]


def test_candles_in_pages_and_again_for_nothing(tmp_path: Path) -> None:
    with Server() as server:
        report = run(server, tmp_path / "c.csv")
        assert len(server.asked) == 3
        whole(tmp_path / "c.csv")
        figures = {"rows": N, "new_rows": N, "gaps": 0, "missing": 0, "complete": True, "sources": {"bybit": "ok"}}
        assert figures.items() <= report.items()
        before = (tmp_path / "c.csv").read_bytes()
        again = run(server, tmp_path / "c.csv")
        assert (again["new_rows"], again["requests"], again["rows"]) == (0, 0, N)
        assert (tmp_path / "c.csv").read_bytes() == before


def test_troubles_are_waited_out(tmp_path: Path) -> None:
    with Server(["ok", "limit", "limit", "drop", "ok", "down"]) as server:
        report = run(server, tmp_path / "c.csv")
    whole(tmp_path / "c.csv")
    assert report["retries"] == 4
    assert report["waits"] == [1.0, 2.0, 1.0, 1.0]


def test_a_failure_midway_and_a_resume(tmp_path: Path) -> None:
    out = tmp_path / "c.parquet"
    kept = pytest.raises(DataError, match=r"bybit answers no more: .*2,000 rows are kept")
    with Server(["ok", "ok", "stop"]) as server, kept:
        run(server, out)
    assert not out.exists()
    journal = tmp_path / "c.partial.csv"
    journal.write_text(journal.read_text() + "17040672")  # a crash in the middle of a line
    with Server() as server:
        report = run(server, out)
        assert len(server.asked) == 1
        assert (report["rows"], report["new_rows"], report["gaps"]) == (N, 500, 0)
        table = pq.read_table(out)
        assert table.column("timestamp").to_pylist() == [T0 + k * STEP for k in range(N)]
        assert table.column("close").to_pylist() == [candle(T0 + k * STEP)[3] for k in range(N)]
        assert not journal.exists()
        later = Request("candles", SYMBOL, T0, T0 + (N + 10) * STEP, "5m")
        assert (run(server, out, later)["new_rows"], len(pq.read_table(out))) == (10, N + 10)
    got = import_files("auto", "linear", [out], tmp_path / "store", symbol="BTCUSDT")
    assert (got["candles"], got["step_s"], got["gaps"]) == (N + 10, 300.0, 0)
    files = {p.name for p in tmp_path.iterdir()}
    assert files == {"c.parquet", "c.meta.json", "store"}


def test_gaps_are_reported(tmp_path: Path) -> None:
    holes = {T0, *(T0 + k * STEP for k in range(700, 2_100)), T0 + (N - 1) * STEP}  # one longer than a page
    with Server(holes=holes) as server:
        report = run(server, tmp_path / "c.csv")
    assert (report["rows"], report["gaps"], report["missing"]) == (N - len(holes), 3, len(holes))
    assert report["first_gaps"][0] == "2024-01-01 00:00:00 to 2024-01-01 00:05:00"


@pytest.mark.parametrize(
    ("trouble", "why"), [("nonsense", "prices contradict each other"), ("refuse", "refuses: bybit")]
)
def test_the_next_source_goes_on(tmp_path: Path, trouble: str, why: str) -> None:
    with Server(["ok", trouble]) as server:
        report = run(server, tmp_path / "c.csv", names="bybit,binanceusdm")
    whole(tmp_path / "c.csv")
    assert report["sources"]["bybit"].startswith("invalid: ")
    assert why in report["sources"]["bybit"]
    assert report["sources"]["binanceusdm"] == "ok"
    assert report["rows_by_exchange"] == {"bybit": 1000, "binanceusdm": 1500}
    assert report["gaps"] == 0


def test_trades_of_a_source_that_reaches_back(tmp_path: Path) -> None:
    hours = 7
    request = Request("trades", SYMBOL, T0, T0 + hours * 3_600_000)
    out = tmp_path / "t.csv"
    with Server(newest=T0 + 90 * 86_400_000) as server:
        report = run(server, out, request, "bybit,binanceusdm")
        assert "serves recent trades only" in report["sources"]["bybit"]
        assert report["rows"] == hours * 180
        got = rows(out)
        assert len({r[1] for r in got}) == hours * 180
        assert [int(r[0]) for r in got] == sorted(int(r[0]) for r in got)
        assert got[2][2:] == ["sell", "100.5", "0.5", "binanceusdm"]
        torn = out.read_bytes()
        out.write_bytes(torn[: len(torn) // 2])
        assert run(server, out, request, "binanceusdm")["rows"] == hours * 180
        assert out.read_bytes() == torn


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with Server(newest=T0 - 1) as server, pytest.raises(DataError, match="bybit has no candles from 2024-01-01"):
        run(server, tmp_path / "c.csv", Request("candles", SYMBOL, T0, T0 + 9 * STEP))


def test_funding(tmp_path: Path) -> None:
    request = Request("funding", SYMBOL, T0, T0 + 500 * FUNDING)
    with Server(holes={T0 + 7 * FUNDING}) as server:
        report = run(server, tmp_path / "f.parquet", request)
    assert (report["rows"], report["gaps"], report["missing"]) == (499, 1, 1)
    table = pq.read_table(tmp_path / "f.parquet").to_pydict()
    assert table["rate"][1] == (T0 // FUNDING + 1) % 9 * 1e-4


def test_no_network_and_no_such_thing(tmp_path: Path) -> None:
    with Server() as server:
        pass
    with pytest.raises(VenueUnreachable, match=r"USDT: bybit does not answer: .*; binanceusdm does not answer"):
        run(server, tmp_path / "c.csv", names="bybit,binanceusdm")
    assert not list(tmp_path.iterdir())
    with Server() as server:
        with pytest.raises(DataError, match="DOGE/USDT:USDT: bybit has no DOGE"):
            run(server, tmp_path / "c.csv", Request("candles", "DOGE/USDT:USDT", T0, T0 + STEP))
        with pytest.raises(DataError, match="bybit has no candles of 7m; it has 1m, "):
            run(server, tmp_path / "c.csv", Request("candles", SYMBOL, T0, T0 + STEP, "7m"))
    assert not list(tmp_path.iterdir())


def test_other_things_are_not_appended_or_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "c.csv"
    with Server() as server:
        run(server, out, Request("candles", SYMBOL, T0, T0 + 10 * STEP))
        with pytest.raises(ConfigError, match="give another --out"):
            run(server, out, Request("funding", SYMBOL, T0, T0 + STEP))
        with pytest.raises(ConfigError, match="begins 2024-01-01 00:00:00"):
            run(server, out, Request("candles", SYMBOL, T0 - 9 * STEP, T0 + 10 * STEP))
        (tmp_path / "mine.csv").write_text("a,b\n")
        with pytest.raises(ConfigError, match="was not fetched"):
            run(server, tmp_path / "mine.csv")
    out.write_text(out.read_text() + "1,2\n")
    with pytest.raises(DataError, match=r"c\.csv:12: not a row of fetched candles"):
        FetchFile(out, "candles", SYMBOL, STEP)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"what": "books"}, "--what books"),
        ({"exchanges": "bybit,nowhere"}, "--exchange nowhere"),
        ({"since": "yesterday"}, "--since yesterday"),
        ({"timeframe": "fast"}, "--timeframe fast"),
        ({"out": Path("x.txt")}, "end the name in .csv or .parquet"),
        ({"until": "2023-01-01"}, "nothing lies between"),
    ],
)
def test_words_of_the_command_line(words: dict[str, Any], message: str, tmp_path: Path) -> None:
    usual = {"exchanges": "bybit", "symbol": SYMBOL, "what": "candles", "since": "2024-01-01", "until": "2024-01-02",
             "timeframe": "5m", "out": tmp_path / "c.csv"}  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        fetch_command(**{**usual, **words})


def test_the_command(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    import cli

    with Server() as server:
        args = ["data", "fetch", "--exchange", "bybit", "--symbol", SYMBOL, "--since", "2024-01-01", "--until",
                "2024-01-02", "--out", str(tmp_path / "c.csv"), "--address", server.address, "--json"]  # fmt: skip
        done = CliRunner().invoke(cli.app, args)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == 288
    whole(tmp_path / "c.csv", 288)
