"""Before real money: the flag, the keys, and a sentence typed by hand that names the venue and the loss."""

from __future__ import annotations

from collections.abc import Callable

from actors.exchanges import account_keys, external_options
from mm.config.schema import RunConfig
from mm.errors import ConfigError


def real_venues(cfg: RunConfig) -> list[str]:
    """``name (network)`` of every venue to which orders would leave this machine."""
    return [f"{v.name} ({v.network})" for v in cfg.live.venues if v.real]


def sentence(cfg: RunConfig) -> str:
    """What has to be typed: venues and the most that may be lost in a day."""
    names = " ".join(v.name for v in cfg.live.venues if v.real)
    return f"trade {names} lose {cfg.risk.max_daily_loss_usd:g} usd"


def allow(cfg: RunConfig, *, real: bool, ask: Callable[[str], str]) -> None:
    """Let a run begin; ``ask`` shows a text and returns what was typed.

    Raises:
        ConfigError: real venues without ``--real``, without keys, or without the sentence; ``--real`` without need.
    """
    venues = real_venues(cfg)
    if not venues:
        if real:
            raise ConfigError("--real: every venue of this config is local or paper; set live.venues[].network")
        return
    if not real:
        raise ConfigError(f"this config trades outside this machine: {', '.join(venues)}; say --real if you mean it")
    for venue in cfg.live.venues:
        if venue.real:
            external_options(venue)  # a network that the venue has
            account_keys(venue)
    wanted = sentence(cfg)
    typed = ask(f"Orders will be sent to {', '.join(venues)}. Type exactly:\n  {wanted}\n> ")
    if " ".join(typed.split()) != wanted:
        raise ConfigError("not confirmed: nothing was started")
