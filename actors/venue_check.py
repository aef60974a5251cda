"""Is an account ready to trade? Keys, clock, fees, balances, sizes: questions only, no order is placed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from actors import exchanges
from actors.logs import mask, without_secrets
from mm.config.schema import VenueConfig
from mm.errors import ConfigError, RaymakerError, VenueUnreachable
from mm.venues.base import TradingClient
from mm.venues.registry import get_venue
from mm.venues.specs import find_spec, venue_spec

MOST_SKEW_S: Final = 1.0  # venues refuse requests of clocks that are further off
_TIMEOUT_S: Final = 30.0

Verdict = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str


def check(kind: str, network: str, address: str | None, symbols: list[str] | None) -> dict[str, Any]:
    """Look at an account: ``{"venue", "network", "ok", "findings"}``; raises ``ConfigError``, for missing keys too."""
    get_venue(kind)  # names the known ones where there is no such one
    any_of = not symbols  # whatever the venue has of those that we know
    symbols = symbols or ([x.symbol for x in venue_spec(kind).listings] if kind != "native" else ["BTC-USDT"])
    raw = {"name": kind.replace(":", "-"), "kind": kind, "network": network, "address": address, "instruments": symbols}
    try:
        venue = VenueConfig.model_validate(raw)
    except ValidationError as exc:
        first = exc.errors()[0]
        what = "".join(f"--{part}: " for part in first["loc"][:1])
        raise ConfigError(f"{what}{first['msg'].removeprefix('Value error, ')}") from exc
    options = exchanges.external_options(venue)
    keys = exchanges.account_keys(venue)
    mask(keys.values())
    findings = asyncio.run(_look(venue, options, keys, any_of=any_of))
    return {
        "venue": venue.kind, "network": venue.network, "ok": all(f.verdict != "failed" for f in findings),
        "findings": [asdict(f) for f in findings],
    }  # fmt: skip


async def _look(
    venue: VenueConfig, options: dict[str, Any], keys: dict[str, str], *, any_of: bool
) -> list[Finding]:  # fmt: skip
    out: list[Finding] = []
    made_by = get_venue(venue.kind)
    public = made_by.make_public(options, venue.instruments)
    try:
        await _note(out, "instruments", lambda: _instruments(public, venue, any_of=any_of))
    finally:
        await public.close()
    try:
        client = made_by.make_trading(options | keys)
    except ConfigError as exc:
        out.append(Finding("keys", "failed", without_secrets(str(exc))))
        return out
    try:
        if await _note(out, "keys", lambda: _connect(client)):
            for what, look in _QUESTIONS.items():
                if what in _BY_INSTRUMENT and not venue.instruments:
                    continue
                await _note(out, what, lambda look=look: look(client, venue))  # type: ignore[misc]
    finally:
        await client.close()
    return out


async def _note(out: list[Finding], what: str, look: Callable[[], Awaitable[tuple[Verdict, str]]]) -> bool:
    """Run one look and note what it found; whether the account got past it."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            verdict, detail = await look()
    except NotImplementedError as exc:
        verdict, detail = "ok", f"not offered: {exc}"
    except TimeoutError:
        verdict, detail = "failed", f"no answer in {_TIMEOUT_S:g} s"
    except RaymakerError as exc:
        verdict, detail = "failed", str(exc)
    out.append(Finding(what, verdict, without_secrets(detail)))
    return verdict != "failed"


async def _connect(client: TradingClient) -> tuple[Verdict, str]:
    await client.connect(lambda _raw, _ts: None)
    return "ok", "well-formed, and the venue accepts them"


async def _instruments(public: Any, venue: VenueConfig, *, any_of: bool) -> tuple[Verdict, str]:
    known = {i.symbol: i for i in await public.instruments()}
    missing = [s for s in venue.instruments if s not in known]
    venue.instruments[:] = [s for s in venue.instruments if s in known]  # of others there is nothing to ask
    if missing and not (any_of and venue.instruments):
        raise VenueUnreachable(f"no instrument {', '.join(missing)}; there are {', '.join(sorted(known)[:20])}")
    static = find_spec(venue.kind)
    listed = {x.symbol: x for x in static.listings} if static is not None else {}
    told = [f"not listed here: {', '.join(missing)}"] if missing else []
    verdict: Verdict = "ok"
    for symbol in venue.instruments:
        i = known[symbol]
        told.append(f"{symbol}: tick {i.tick_size}, lot {i.lot_size}, smallest order {i.min_notional} {i.quote}")
        spec = listed.get(symbol)
        if spec is not None and (str(i.tick_size), str(i.lot_size)) != (spec.tick_size, spec.lot_size):
            verdict = "warning"
            told.append(f"the spec in mm/venues/{venue.kind}/spec.py says {spec.tick_size}, {spec.lot_size}")
    return verdict, "; ".join(told)


async def _clock(client: TradingClient, _venue: VenueConfig) -> tuple[Verdict, str]:
    skews = []
    for _ in range(3):
        sent_ns = time.time_ns()
        theirs_ns = await client.server_time_ns()
        got_ns = time.time_ns()
        skews.append((got_ns - sent_ns, ((sent_ns + got_ns) / 2 - theirs_ns) / 1e9))
    skew_s = min(skews)[1]
    verdict: Verdict = "ok" if abs(skew_s) < MOST_SKEW_S else "failed"
    return verdict, f"this machine is {skew_s:+.3f} s ahead" + ("" if verdict == "ok" else "; set the clock (NTP)")


async def _fees(client: TradingClient, venue: VenueConfig) -> tuple[Verdict, str]:
    static = find_spec(venue.kind)
    expected = static.fees() if static is not None else None
    told = []
    verdict: Verdict = "ok"
    for symbol in venue.instruments:
        maker, taker = await client.fees(symbol)
        told.append(f"{symbol}: maker {maker * 10_000:f} bps, taker {taker * 10_000:f} bps")
        if expected is not None and (maker, taker) != (expected.maker, expected.taker):
            verdict = "warning"
            told.append(f"the spec says {expected.maker * 10_000:f} and {expected.taker * 10_000:f}")
    return verdict, "; ".join(told)


async def _balance(client: TradingClient, venue: VenueConfig) -> tuple[Verdict, str]:
    held = [await client.position(symbol) for symbol in venue.instruments]
    told = [f"{p.symbol}: position {p.size}, balance {p.balance}" for p in held]
    empty = all(p.balance <= 0 and p.size == 0 for p in held)
    return "warning" if empty else "ok", "; ".join(told)


async def _permissions(client: TradingClient, _venue: VenueConfig) -> tuple[Verdict, str]:
    may = await client.permissions()
    if not may.trade:
        return "failed", f"this key may not trade ({may.text})"
    if may.withdraw:
        return "warning", f"this key may withdraw: make one that may not ({may.text})"
    return "ok", f"may trade{'' if may.withdraw is None else ', may not withdraw'} ({may.text})"


async def _orders(client: TradingClient, _venue: VenueConfig) -> tuple[Verdict, str]:
    n = len(await client.open_orders())
    return ("warning", f"{n} open; a desk cancels them when it starts") if n else ("ok", "none open")


_BY_INSTRUMENT: Final = ("fees", "balance")
_QUESTIONS: Final[dict[str, Callable[[TradingClient, VenueConfig], Awaitable[tuple[Verdict, str]]]]] = {
    "clock": _clock,
    "permissions": _permissions,
    "fees": _fees,
    "balance": _balance,
    "open orders": _orders,
}
