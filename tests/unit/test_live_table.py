"""The terminal table shows what the supervisor says, and what is missing as nothing."""

import io

from rich.console import Console

from actors.live_table import LiveTable, render

STATUS = {
    "run_id": "20260101T000000Z-live-abcd",
    "state": "running",
    "elapsed_s": 12.4,
    "duration_s": 60.0,
    "venues": {
        "east": {
            "quoter": {
                "instruments": [
                    {"symbol": "BTC-USDT", "mid": 60000.05, "bid": 59998.1, "ask": None, "position": -0.003,
                     "pnl_usd": 1.25, "fills": 7, "reason": "inventory_limit"},
                ]
            },
            "executor": {"tick_to_order_us": {"p50": 812.4, "p99": 4000.0}},
        },
        "west": {"quoter": {"instruments": [{"symbol": "BTC-USDT", "ready": False}]}},
    },
}  # fmt: skip


def drawn(status):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(status))
    return console.export_text()


def test_a_line_per_instrument_with_its_reason():
    text = drawn(STATUS)
    for shown in ("12 of 60 s", "60,000.05", "59,998.1", "-0.003000", "1.25", "inventory_limit", "812 µs", "starting"):
        assert shown in text
    assert "None" not in text


def test_a_run_without_an_end_or_venues_yet():
    text = drawn({"run_id": "r", "state": "starting", "duration_s": None, "venues": {}})
    assert "starting" in text
    assert " of " not in text


def test_disabled_it_draws_nothing(capsys):
    with LiveTable(enabled=False) as table:
        table.update(STATUS)
    out = capsys.readouterr()
    assert out.out == out.err == ""


def test_enabled_it_draws_to_stderr(capsys):
    with LiveTable(enabled=True) as table:
        table.update(STATUS)
    assert capsys.readouterr().out == ""


def test_a_line_names_the_controls_that_acted():
    one = STATUS["venues"]["east"]["quoter"]["instruments"][0]
    acting = {"reason": "regime", "acting": ["momentum", "regime"]}
    text = drawn(STATUS | {"venues": {"east": {"quoter": {"instruments": [one | acting]}}}})
    assert "regime (+ momentum)" in text
