"""Kernels of the live path: compiled once for all actors, and every type that arrives is among them."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace

import numba
import numpy as np
import pytest

from actors import warm
from mm.config.schema import RunConfig
from mm.core.types import ASK, BID, EVENT, LAST
from mm.strategy.quoter import Quoter, apply_exec, run_decide, run_events


@pytest.mark.parametrize(("code", "times"), [(0, 1), (1, 2)])
def test_one_process_compiles_for_all(tmp_path, monkeypatch, code, times):
    started = []

    def run(command, **_more):
        started.append(command)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        warm._compile_elsewhere(tmp_path / "cache")
    assert len(started) == times  # one that failed is tried again


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: pytest.fail("there is no lock"))
    warm._compile_elsewhere(tmp_path / "file" / "cache")


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_what_arrives_later_needs_no_compiler():
    warm.run_kernels()
    kernels = (run_events, run_decide, apply_exec)
    known = [len(f.signatures) for f in kernels]
    q = Quoter(RunConfig(), [warm._SOME_INSTRUMENT])
    for ts in (10**18, 10**18 + 10**9):
        events = np.array([(ts, ts, 50, 599_990, 0, BID, 0), (ts, ts, 50, 600_010, 0, ASK, LAST)], EVENT)
        q.on_events(np.frombuffer(events.tobytes(), EVENT))  # as received: read-only
        q.on_events(events)  # picked from a batch of several instruments
        q.decide(ts)
    assert q.records_of(0) is not None
    assert [len(f.signatures) for f in kernels] == known
