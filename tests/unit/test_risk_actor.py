"""The risk actor's shell: a broken limit is told until the executor has heard it, and gives no right to trade."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from actors.risk import RiskActor
from actors.transport import EXPOSURE, HALT, LEASE
from mm.core.types import records
from mm.strategy.risk import HALT_DRAWDOWN, LIMITS, LOSS
from mm.strategy.state import FEATURES, PARAMS, STATE

S = 1_000_000_000
NOW = 20_000 * 86_400 * S


class Out:
    def __init__(self):
        self.sent = []

    def send(self, kind, payload=b"", **more):
        self.sent.append((kind, more.get("a", 0)))


@pytest.fixture
def risk(tmp_path):
    r = SimpleNamespace(
        state=records(1, STATE), params=records(1, PARAMS), features=records(1, FEATURES), limits=records(1, LIMITS)
    )
    r.params["unit_value"], r.features["mid"] = 1.0, 100.0
    r.limits["max_drawdown_usd"], r.limits["max_daily_loss_usd"] = 5.0, 50.0
    me = RiskActor.__new__(RiskActor)
    me.spec = SimpleNamespace(venue=0)
    me.log = logging.getLogger("test")
    me._loss, me._loss_file = records(1, LOSS), tmp_path / "loss.json"
    me._executor, me._desk = Out(), Out()
    me._account = SimpleNamespace(
        n=1, halted=0, q=SimpleNamespace(records_of=lambda _i: r), stale=lambda _now: False, records=r
    )
    return me


def test_a_lease_while_all_is_well(risk):
    risk._mark(NOW)
    risk._renew(NOW)
    assert risk._executor.sent == [(LEASE, 0)]
    assert risk._desk.sent == [(EXPOSURE, 0)]


def test_a_broken_limit_is_told_again_until_the_executor_is_halted(risk):
    risk._account.records.state["cash_units"] = -6
    risk._mark(NOW)
    risk._mark(NOW + 1)
    assert risk._executor.sent == [(HALT, HALT_DRAWDOWN)]
    risk._renew(NOW + 1)
    risk._mark(NOW + S)  # the first may have gone to an executor that died
    assert risk._executor.sent == [(HALT, HALT_DRAWDOWN)] * 2
    risk._account.halted = HALT_DRAWDOWN
    risk._mark(NOW + 2 * S)
    risk._renew(NOW + 2 * S)
    assert risk._executor.sent == [(HALT, HALT_DRAWDOWN)] * 2  # and never a lease
