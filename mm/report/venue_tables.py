"""What is known of each venue as Markdown: fee tables with source and date, instruments, limits (docs/fees.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mm.core.fees import SCHEDULES, Schedule
from mm.venues.spec import Listing, RateRule, VenueSpec
from mm.venues.specs import SPECS

_HEAD = """\
# Fees and venues

Generated: `python cli.py venues --write docs/fees.md`. The numbers stand in `mm/core/fees.py` and \
`mm/venues/*/spec.py`, and a test compares this page with them.

They are for simulations and for checks before a start; a live account pays what its venue says at login. What could \
not be read from the venue itself is marked **unverified** and has the dearest value found. No rebate is in any tier \
that a config gets without naming it: `sim.fee_tier: bybit:vip0` takes a tier, `sim.maker_fee` and `sim.taker_fee` go \
over it. `configs/venues/NAME.yaml` has everything below for BTC as a config to stand on (`base:`).

A maker's round trip costs twice the maker fee: a spread below that loses money however well it is filled.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_venue(spec) for spec in SPECS.values())])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _venue(spec: VenueSpec) -> str:
    facts = [
        ("default tier", f"`{spec.name}:{spec.fee_tier}`"),
        ("fees of an account", spec.fees_at),
        ("post-only", f"`{spec.post_only}`"),
        ("meeting our own orders", spec.self_trade),
        ("funding", _funding(spec)),
        ("rate limits", f"{', '.join(map(_rate, spec.rates))} ({spec.rates_source})"),
    ]
    parts = [
        f"## {spec.name} ({spec.kind})",
        *(_schedule(s, spec.name) for s in SCHEDULES[spec.name]),
        table(
            ("instrument", "tick", "lot", "smallest order", "leverage", "maintenance margin", "source", "as of"),
            map(_listing, spec.listings),
        ),
        *(f"{x.symbol}: {x.note}" for x in spec.listings if x.note),
        table(("", ""), facts),
    ]
    return "\n\n".join(parts) + "\n"


def _schedule(one: Schedule, venue: str) -> str:
    head = f"{' and '.join(one.kinds)}; {one.source}; {one.as_of}{'' if one.verified else '; **unverified**'}."
    rows = [(f"`{venue}:{tier}`", f"{maker} %", f"{taker} %") for tier, maker, taker in one.rows]
    return "\n\n".join([f"{head} {one.note}".strip(), table(("tier", "maker", "taker"), rows)])


def _listing(one: Listing) -> tuple[str, ...]:
    tiers = [f"{rate:.3g} %" + (f" above {_usd(above)}" if above else "") for above, rate in one.tiers]
    if len(tiers) > 4:
        tiers = [*tiers[:3], f"… {tiers[-1]}"]
    source = one.source + ("" if one.verified else " (**unverified**)")
    return (
        one.symbol, one.tick_size, one.lot_size, f"${one.min_notional}" if one.min_notional != "0" else "1 lot",
        f"{one.max_leverage:g}x", ", ".join(tiers) or "none", source, one.as_of,
    )  # fmt: skip


def _usd(value: float) -> str:
    return f"${value / 1e6:g} M" if value >= 1e6 else f"${value / 1e3:g} k"


def _funding(spec: VenueSpec) -> str:
    if spec.funding_interval_h is None:
        return "none"
    return f"every {spec.funding_interval_h:g} h" + (f" ({spec.funding_note})" if spec.funding_note else "")


def _rate(rule: RateRule) -> str:
    window = f"{rule.window_s:g} s" if rule.window_s != 1 else "s"
    return f"{rule.count:,} {rule.what} per {window}"
