"""Section 3: estimators of intensity and volatility; the Monte Carlo of the former with a fixed seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mm.models import intensity, volatility
from tests.golden.outcome import Estimate, Outcome

Inputs = dict[str, Any]
SEED = 11
REPS = 2000


def intensity_estimators(i: Inputs) -> Outcome:
    T, grid, times, depths = i["T_obs"], i["grid"], i["times"], i["depths"]
    ols, r2 = intensity.loglinear(depths, T, grid, weighted=False)
    wls, _ = intensity.loglinear(depths, T, grid, weighted=True)
    truncated, n = intensity.mle_from(depths, T, i["d0"])
    waiting = intensity.waiting_time(times, depths, T, grid, i["window_s"])
    deepest = intensity.interval_max(times, depths, T, grid, i["window_s"])
    seed, corrected = intensity.binned_density(depths, T, i["bin_w"])
    return Outcome(
        {
            "loglinear_ols": ols._asdict() | {"r2": r2},
            "loglinear_wls": wls._asdict(),
            "mle": intensity.mle(depths, T)._asdict(),
            "mle_from_d0": truncated._asdict() | {"n": n},
            "mle_grouped": intensity.mle_grouped(depths, T, i["tick_w"])._asdict(),
            "waiting_time": {
                "A": waiting.A,
                "k": waiting.k,
                "fills": waiting.fills,
                "exposure": waiting.exposure,
                "lambda_hat": waiting.rate,
            },
            "interval_max": {
                "p": deepest.share,
                "naive": deepest.naive,
                "corrected": deepest.corrected,
                "A": deepest.A,
                "k": deepest.k,
            },
            "binned_density": {"k_seed": seed.k, "A_seed": seed.A, "A_corrected": corrected},
        }
    )


def intensity_estimators_mc(i: Inputs) -> Outcome:
    rng = np.random.default_rng(SEED)
    A, k, T = i["true_A"], i["true_k"], i["T_obs"]
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(REPS):
        n = rng.poisson(A * T)
        case = i | {"times": np.sort(rng.uniform(0.0, T, n)), "depths": rng.exponential(1.0 / k, n)}
        for name, fit in intensity_estimators(case).outputs.items():
            if name == "binned_density":
                found.setdefault("binned_density_seed", []).append((fit["A_seed"], fit["k_seed"]))
                found.setdefault("binned_density_corrected", []).append((fit["A_corrected"], fit["k_seed"]))
            else:
                found.setdefault(name, []).append((fit["A"], fit["k"]))
    estimators = {}
    for name, values in found.items():
        columns = np.array(values).T
        estimators[name] = {}
        for letter, column in zip("Ak", columns, strict=True):
            estimators[name] |= _moments(letter, column[np.isfinite(column)], int(i["reps"]))
    return Outcome(
        {
            "theory_mle_se_A": math.sqrt(A / T),
            "theory_mle_se_k": k / math.sqrt(A * T),
            "estimators": estimators,
        }
    )


def _moments(letter: str, x: np.ndarray, their_reps: int) -> dict[str, Estimate]:
    """Mean and standard deviation with the standard error of the difference of two samples, ours and the file's."""
    sd = float(x.std(ddof=1))
    both = math.sqrt(1.0 / len(x) + 1.0 / their_reps)
    kurt = float(np.mean((x - x.mean()) ** 4)) / sd**4
    return {
        f"mean_{letter}": Estimate(float(x.mean()), sd * both),
        f"sd_{letter}": Estimate(sd, sd * math.sqrt(max(kurt - 1.0, 0.1)) / 2.0 * both),
    }


def kappa_from_book(i: Inputs) -> Outcome:
    seed = intensity.seed_kappa(i["avg_touch_depth"], i["mid"])
    k = intensity.kappa_from_density(i["book_density_per_dollar"], i["mean_mo_size"])
    return Outcome(
        {"seed_kappa": seed, "seed_implied_half_spread": 1.0 / seed, "k_book_proxy": k, "proxy_half_spread": 1.0 / k}
    )


def volatility_(i: Inputs) -> Outcome:
    b = volatility.as_bars(i["open"], i["high"], i["low"], i["close"])
    bar_s, last = i["bar_s"], float(b.close[-1])
    per_bar = volatility.realised_zero_mean(b.close)
    per_sqrt_s = per_bar / math.sqrt(bar_s)
    daily = per_bar * math.sqrt(86_400 / bar_s)
    return Outcome(
        {
            "realised_std": volatility.realised(b.close),
            "realised_zero_mean": per_bar,
            "parkinson": volatility.parkinson(b),
            "garman_klass": volatility.garman_klass(b),
            "rogers_satchell": volatility.rogers_satchell(b),
            "yang_zhang": volatility.yang_zhang(b),
            "ewma_094": volatility.ewma(b.close, i["ewma_lambda"]),
            "dollar_realised_per_sqrt_s": volatility.price_per_sqrt_s(b.close, bar_s),
            "realised_per_sqrt_s": per_sqrt_s,
            "realised_dollar_per_sqrt_s": last * per_sqrt_s,
            "realised_daily": daily,
            "realised_annual_365": daily * math.sqrt(365),
        }
    )


volatility_.__name__ = "volatility"
