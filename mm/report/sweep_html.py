"""The page of a sweep: one HTML file that needs no network. The drawing is plain JavaScript in ``sweep.html``."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_TEMPLATE: Final = Path(__file__).with_name("sweep.html")
_MARK: Final = "/*DATA*/null"


@dataclass(frozen=True, slots=True)
class Series:
    """Curves of one trial, shape (n,) each: seconds since the start, mid and profit in quote, position in base."""

    t_s: NDArray[np.float64]
    mid: NDArray[np.float64]
    pnl_usd: NDArray[np.float64]
    position: NDArray[np.float64]


def render(name: str, rows: list[dict[str, Any]], axes: list[str], summary: dict[str, Any], best: Series | None) -> str:
    """The whole page.

    ``rows``: dicts with ``index, config_hash, status, error, params, metrics``; ``axes``: the params to draw, in order;
    ``summary``: shown as it is, with ``metric``, ``mode``, ``note``; ``best``: curves of the best trial.
    """
    metrics = list(dict.fromkeys(k for row in rows for k in row["metrics"]))
    data = {
        "name": name,
        "axes": axes,
        "metrics": metrics,
        "metric": summary["metric"],
        "mode": summary["mode"],
        "rows": [
            [r["index"], r["config_hash"], r["status"], r["error"], [r["params"].get(a) for a in axes],
             [r["metrics"].get(m) for m in metrics]]
            for r in rows
        ],
        "summary": summary,
        "best": None if best is None else {k: _short(getattr(best, k)) for k in Series.__slots__},
    }  # fmt: skip
    # "</script>" inside a string would end the script; NaN is not JSON
    text = json.dumps(_finite(data), separators=(",", ":")).replace("<", "\\u003c")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_MARK, text)


def _short(values: NDArray[np.float64]) -> list[float]:
    """Eight significant digits: more than a screen has pixels, a third of the bytes."""
    return [float(f"{v:.8g}") for v in values]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
