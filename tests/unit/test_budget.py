"""The shared rate budget: no window sees more than the rule, whoever sends; cancels have a share of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import budget as module
from actors.budget import SharedBudget, account_budget
from mm.venues.quote_rate import quote_rate
from mm.venues.spec import RateRule
from mm.venues.specs import SPECS

S = 1_000_000_000
ROOT = Path(__file__).resolve().parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 5 * S

    def __call__(self) -> int:
        return self.now


def make(tmp_path, *rules: RateRule) -> tuple[SharedBudget, Clock]:
    clock = Clock()
    return SharedBudget(tmp_path / "b", rules, clock), clock


def test_a_burst_then_the_window(tmp_path):
    budget, clock = make(tmp_path, RateRule("orders", 20, 1.0, (("place", 1),)))
    assert [budget.try_take("place") for _ in range(19)] == [0] * 19  # 5 % are left unused
    wait = budget.try_take("place")
    assert S < wait <= 1.01 * S
    assert budget.try_take("cancel") == 0  # another kind
    clock.now += wait
    assert budget.try_take("place") == 0


def test_cancels_keep_a_share_and_a_halt_never_waits(tmp_path):
    budget, _ = make(tmp_path, RateRule("requests", 22, 1.0))  # 20 usable, 4 of them for cancels
    assert [budget.try_take("place") == 0 for _ in range(18)] == [True] * 16 + [False] * 2
    assert [budget.try_take("cancel") == 0 for _ in range(5)] == [True] * 4 + [False]
    budget.note("cancel_all")


def test_weights(tmp_path):
    budget, _ = make(tmp_path, RateRule("weight", 100, 60.0, (("query", 20), ("place", 1))))
    assert [budget.try_take("query") == 0 for _ in range(5)] == [True] * 4 + [False]
    assert [budget.try_take("place") == 0 for _ in range(16)] == [True] * 15 + [False]


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["place", "cancel", "query"])), max_size=200))
def test_no_window_ever_sees_more_than_the_rule(steps):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        budget, clock = make(Path(folder), RateRule("requests", 10, 1.0))
        sent: list[int] = []
        for wait_ms, kind in steps:
            clock.now += wait_ms * 1_000_000
            if budget.try_take(kind) == 0:
                sent.append(clock.now)
        for k in range(9, len(sent)):
            assert sent[k] - sent[k - 9] > S  # ten within a second would be one too many: nine are allowed
        budget.close()


def test_a_clock_that_began_again(tmp_path):
    budget, clock = make(tmp_path, RateRule("orders", 2, 1.0))
    assert budget.try_take("place") == 0
    clock.now = 1 * S  # a reboot: the file is from the future
    assert budget.try_take("place") == 0


def test_taking_waits(tmp_path):
    budget = SharedBudget(tmp_path / "b", [RateRule("orders", 3, 0.1)])

    async def work() -> float:
        begun = time.monotonic()
        for _ in range(5):
            await budget.take("cancel")
        return time.monotonic() - begun

    assert asyncio.run(work()) > 0.2
    assert budget.waited_s > 0.15


def test_processes_share_one_account(tmp_path):
    code = (
        "import sys; from pathlib import Path; from actors.budget import SharedBudget\n"
        "from mm.venues.spec import RateRule\n"
        f"b = SharedBudget(Path({str(tmp_path / 'b')!r}), [RateRule('orders', 40, 600.0, (('place', 1),))])\n"
        "print(sum(b.try_take('place') == 0 for _ in range(60)))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    assert sum(int(p.communicate(timeout=60)[0]) for p in both) == 38


def test_the_name_of_an_account_shows_no_key(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYMAKER_HOME", str(tmp_path))
    budget = account_budget("bybit", "mainnet", {"secret": "s3cr3t"}, SPECS["bybit"].rates)
    same = account_budget("bybit", "mainnet", {"secret": "s3cr3t"}, SPECS["bybit"].rates)
    other = account_budget("bybit", "mainnet", {"secret": "another"}, SPECS["bybit"].rates)
    assert len(list((tmp_path / "rates").iterdir())) == 2
    assert not any("s3cr3t" in p.name for p in (tmp_path / "rates").iterdir())
    assert [b.try_take("cancel_all") == 0 for b in (budget, same, other)] == [True, False, True]  # once a second


@pytest.mark.parametrize("venue", sorted(SPECS))
def test_every_rule_of_a_venue_is_about_something_we_send(venue):
    for rule in SPECS[venue].rates:
        kinds = ("place", "amend", "cancel", "cancel_all", "query", "socket")
        assert any(rule.weight(kind) for kind in kinds), rule
    assert module.MARGIN == 0.05


@pytest.mark.parametrize("venue", sorted(SPECS))
def test_a_quoter_stays_below_the_budget(venue):
    """At its default rate, with reconciliation beside it, a quoter never waits for the budget."""
    limit = quote_rate(SPECS[venue])
    for rule in SPECS[venue].rates:
        dearest = max(rule.weight("place"), rule.weight("cancel") if limit.cancels else 0)
        most = dearest * limit.orders * max(rule.window_s / limit.window, 1)
        asked = rule.weight("query") * rule.window_s * 1.5  # three questions every two seconds
        assert most + asked <= rule.count * (1 - module.MARGIN), rule
