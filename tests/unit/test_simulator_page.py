"""docs/simulator.md names what the simulator has, and its tables can be regenerated."""

import re
from pathlib import Path

import pytest

from benchmarks import fill_ladder
from benchmarks.common import replace_part
from mm.errors import ConfigError
from mm.sim.queue import MODELS
from mm.sim.state import REFUSALS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"


def test_every_queue_model_and_refusal_is_explained():
    named = set(re.findall(r"`([a-z0-9_]+)`", PAGE.read_text(encoding="utf-8")))
    assert set(MODELS) | set(REFUSALS) <= named


def test_the_tables_can_be_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    replace_part(page, fill_ladder.BEGIN, fill_ladder.END, "new")
    text = page.read_text(encoding="utf-8")
    assert f"{fill_ladder.BEGIN}\nnew\n{fill_ladder.END}" in text
    assert "trade_through |" not in text
    with pytest.raises(ConfigError, match="needs the lines"):
        replace_part(page, "<!-- no such mark -->", fill_ladder.END, "new")


@pytest.mark.parametrize("market", fill_ladder.MARKETS)
def test_a_market_is_a_table_with_its_verdict(market):
    assert (fill_ladder.config(market).strategy.opening_base is not None) == (market == "spot")
    figures = {"fills": 3, "gross_usd": 1.0, "pnl_usd": -2.0}
    blind = {
        "fills": 5.0,
        "gross_usd": -1.0,
        "gross_bps": -1.0,
        "gross_bps_se": 0.1,
        "pnl_bps": -3.0,
        "pnl_bps_se": 0.1,
    }
    rungs = [{"rung": "touch", "strategy": figures, "control": blind}]
    text = fill_ladder.markdown(market, {"events": 7, "rungs": rungs, "sign_changes": [], "generous": []})
    assert "| touch | 3 | +1.00 | -2.00 | 5 | -1.00 ± 0.10 | -3.00 ± 0.10 |" in text
    assert text.endswith("Not profitable on any rung.")
