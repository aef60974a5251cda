"""Section 6: bars, features, labels and the selection of trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from mm.bars import bars as bar_builder
from mm.features import fracdiff, wilder
from mm.ml import labels, selection
from tests.golden.outcome import Outcome

Inputs = dict[str, Any]


def bars(i: Inputs) -> Outcome:
    t, p, v, s = (list(column) for column in zip(*i["trades"], strict=True))
    built = bar_builder.build_bars(t, p, v, s, i["type"], i["threshold"], i["mode"])
    rows = [{name: row[name].item() for name in built.dtype.names or ()} for row in built]
    tail = len(t) - (rows[-1]["i1"] + 1 if rows else 0)
    return Outcome({"n_bars": len(rows), "bars": rows, "dropped_tail": tail})


def imbalance_bars(i: Inputs) -> Outcome:
    return Outcome({"bars": bar_builder.imbalance_bars([row[1] for row in i["trades"]], i["threshold"]).tolist()})


def ffd_weights(i: Inputs) -> Outcome:
    w = fracdiff.ffd_weights(i["d"], i["threshold"])
    return Outcome({"first": w[:12], "n_weights": len(w), "last": float(w[-1]), "sum": float(w.sum())})


def ffd_series(i: Inputs) -> Outcome:
    w = fracdiff.ffd_weights(i["d"], i["threshold"])
    return Outcome({"n_weights": len(w), "y": fracdiff.ffd(i["x"], i["d"], i["threshold"])})


def rsi_wilder(i: Inputs) -> Outcome:
    return Outcome({"rsi": wilder.rsi(i["close"], i["n"])})


def adx_wilder(i: Inputs) -> Outcome:
    return Outcome(wilder.adx(i["high"], i["low"], i["close"], i["n"])._asdict())


def triple_barrier(i: Inputs) -> Outcome:
    columns = {name: [e.get(name, 1) for e in i["events"]] for name in ("t0", "trgt", "side", "pt", "sl")}
    found = labels.triple_barrier(
        i["close"], columns["t0"], columns["trgt"], i["horizon"], side=columns["side"], pt=columns["pt"],
        sl=columns["sl"],
    )  # fmt: skip
    return Outcome({"labels": [_label(row) for row in found]})


def triple_barrier_ohlc(i: Inputs) -> Outcome:
    found = labels.triple_barrier_ohlc(
        i["close"], i["high"], i["low"], i["t0"], i["trgt"], i["horizon"], side=i.get("side", 1), pt=i["pt"],
        sl=i["sl"],
    )  # fmt: skip
    return Outcome({"labels": [_label(row) for row in found]})


def _label(row: Any) -> dict[str, Any]:
    ret, touch = float(row["ret"]), int(row["touch"])
    return {
        "t0": int(row["t0"]),
        "touch": labels.TOUCHES[touch],
        "t1": int(row["t1"]),
        "ret": ret,
        "label_sign": int(np.sign(ret)),
        "label_vertical0": (0, 1, -1)[touch],
        "meta_label": int(ret > 0.0),
        "complete": bool(row["complete"]),
    }


def bet_size(i: Inputs) -> Outcome:
    z, m = labels.bet_size(i["p"])
    return Outcome({"z": z, "m": m, "size": max(m, 0.0), "discretised": labels.discretise(m, i["step"])})


def purged_kfold(i: Inputs) -> Outcome:
    strict, afml = (
        selection.purged_kfold(i["t1"], i["k"], i["embargo_pct"], strict=strict) for strict in (True, False)
    )
    folds = [
        {"test": [s.first, s.last], "max_t1": s.label_end, "train_afml": a.train, "train_strict": s.train}
        for s, a in zip(strict, afml, strict=True)
    ]
    return Outcome({"embargo": selection.embargo_samples(i["n"], i["embargo_pct"]), "folds": folds})


def deflated_sharpe(i: Inputs) -> Outcome:
    arguments = (i[name] for name in ("sr", "T", "skew", "kurt", "n_trials", "var_trials"))
    return Outcome(selection.deflated_sharpe(*arguments)._asdict())


def pbo_cscv(i: Inputs) -> Outcome:
    logits = selection.pbo_logits(i["returns"], i["S"])
    return Outcome(
        {
            "n_combinations": len(logits),
            "pbo": float(np.mean(logits <= 0.0)),
            "logits_sorted": np.sort(logits),
            "mean_logit": float(logits.mean()),
        }
    )
