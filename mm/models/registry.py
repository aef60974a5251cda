"""The quote models by name. A new model is one file with a ``refresh`` kernel, one line here, one in ``dispatch``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

from mm.core.types import RecArray, packed, unpacked
from mm.errors import ConfigError
from mm.models.base import MAX_Q, MODEL_PARAMS


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the config and the caller need to know about a model."""

    model_id: int
    shape: Literal["affine", "table"]
    uses_tau: bool  # the policy depends on the remaining horizon
    legacy: bool = False  # known to be wrong, for comparison only
    blind: bool = False  # a yardstick that looks at neither inventory nor market
    summary: str = ""


MODELS: Final[dict[str, ModelSpec]] = {
    "avellaneda_stoikov": ModelSpec(1, "affine", uses_tau=True, summary="A-S 2008, session or rolling horizon"),
    "glft_asymptotic": ModelSpec(2, "affine", uses_tau=False, summary="GLFT closed form"),
    "glft_stationary": ModelSpec(3, "table", uses_tau=False, summary="GLFT far from the horizon, inventory limits"),
    "glft_exact": ModelSpec(4, "table", uses_tau=True, summary="GLFT at a finite horizon, inventory limits"),
    "legacy_percent": ModelSpec(5, "affine", uses_tau=True, legacy=True, summary="seed D0, for comparison only"),
    "legacy_glft": ModelSpec(6, "affine", uses_tau=False, legacy=True, summary="seed D4, for comparison only"),
    "random_control": ModelSpec(7, "affine", uses_tau=False, blind=True, summary="blind quotes, the ladder's control"),
}

MAX_SEED: Final = 1 << 31
MAX_KAPPA_IMPACT: Final = 10.0  # an impact of ten decay lengths per fill is a unit mistake


def pack_model(
    model: str,
    *,
    gamma: float,
    kappa: float,
    A: float,
    sigma: float = 0.0,
    n_lots: int = 10,
    xi: float | None = None,
    mu: float = 0.0,
    impact: float = 0.0,
    fee: float = 0.0,
    horizon_s: float = 600.0,
    mid_ticks: float = 0.0,
    min_fraction: float = 1e-4,
    max_fraction: float = 5e-3,
    seed: int = 0,
) -> bytes:
    """One validated MODEL_PARAMS record (``mm.core.types.packed``), scale-free units as in ``mm.models.base``.

    Raises ``ConfigError`` naming the parameter that is wrong.
    """
    if model not in MODELS:
        raise ConfigError(f"model: unknown {model!r}; known: {', '.join(MODELS)}")
    for name, value, low in (
        ("gamma", gamma, 0.0),
        ("sigma", sigma, 0.0),
        ("xi", 0.0 if xi is None else xi, 0.0),
        ("impact", impact, -MAX_KAPPA_IMPACT / kappa if kappa > 0.0 else 0.0),
        ("horizon_s", horizon_s, 0.0),
        ("mu", mu, -math.inf),
        ("fee", fee, -math.inf),
    ):
        if not (math.isfinite(value) and value >= low):
            raise ConfigError(f"model {model}: {name} must be finite and at least {low}, got {value}")
    for name, value in (("kappa", kappa), ("A", A)):
        if not (math.isfinite(value) and value > 0.0):
            raise ConfigError(f"model {model}: {name} must be positive, got {value}")
    if not 1 <= n_lots <= MAX_Q:
        raise ConfigError(f"model {model}: n_lots must be 1 to {MAX_Q}, got {n_lots}")
    if impact * kappa > MAX_KAPPA_IMPACT:
        raise ConfigError(f"model {model}: impact {impact} is more than {MAX_KAPPA_IMPACT}/kappa; check its unit")
    if model == "legacy_percent" and not mid_ticks > 0.0:
        raise ConfigError("model legacy_percent: mid_ticks must be positive: its bounds are fractions of price")
    if not 0.0 <= min_fraction <= max_fraction:
        raise ConfigError(f"model {model}: 0 <= min_fraction <= max_fraction, got {min_fraction}, {max_fraction}")
    return packed(
        MODEL_PARAMS,
        {
            "model_id": MODELS[model].model_id, "n_lots": n_lots, "table": MODELS[model].shape == "table",
            "gamma": gamma, "kappa": kappa, "A": A, "sigma": sigma, "xi": -1.0 if xi is None else xi, "mu": mu,
            "impact": impact, "horizon_s": horizon_s, "mid_ticks": mid_ticks, "min_fraction": min_fraction,
            "max_fraction": max_fraction,
            "fee": 0.0 if MODELS[model].legacy or MODELS[model].blind else fee,  # those are as they are
            "seed": seed % MAX_SEED,
        },
    )  # fmt: skip


def model_params(model: str, **values: Any) -> RecArray:
    """``pack_model`` as an array of length 1."""
    return unpacked([pack_model(model, **values)], MODEL_PARAMS)
