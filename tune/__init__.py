"""Sweeps by Ray Tune. ``from tune import load`` opens the results of one."""

from tune.results import SweepResult, load

__all__ = ["SweepResult", "load"]
