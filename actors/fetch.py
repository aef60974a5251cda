"""Candles, trades and funding of any exchange that ccxt knows, to a file that a second call continues.

Sources are tried in order. One that refuses, does not reach back so far, or says what cannot be is marked invalid and
the next one goes on where it ended; what was fetched stays. Rate limits and lost connections are waited out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import ccxt

from mm.data.fetched import COLUMNS, FetchFile, Row, impossible, utc
from mm.data.importers.times import parse_time
from mm.errors import ConfigError, DataError, VenueUnreachable

_LIMITS: Final = {"candles": 1000, "trades": 1000, "funding": 200}
_REACH_MS: Final = 3_600_000  # trades that begin so much later than asked: the source only has recent ones
_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)  # before each repetition
_LIMIT_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0, 60.0)  # the same, for a rate limit
_NEEDS: Final = {"candles": "fetchOHLCV", "trades": "fetchTrades", "funding": "fetchFundingRateHistory"}


class Invalid(Exception):
    """A source cannot serve this."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch. Times in ms, ``until_ms`` excluded."""

    what: str
    symbol: str
    since_ms: int
    until_ms: int
    timeframe: str = "5m"


@dataclass(slots=True)
class Source:
    """One exchange. ``address``: host:port that stands for every host of it, for tests."""

    name: str
    address: str = ""
    sleep: Callable[[float], None] = time.sleep
    retries: int = 0
    requests: int = 0
    answered: bool = False
    verdict: str = "not needed"
    client: Any = field(default=None, repr=False)

    def open(self, request: Request) -> None:
        """Know its markets; raises ``Invalid``."""
        self.client = getattr(ccxt, self.name)({"enableRateLimit": True, "timeout": 20_000})
        if self.address:
            self.client.urls["api"] = _moved(self.client.urls["api"], self.address)
        if not self.client.has.get(_NEEDS[request.what]):
            raise Invalid(f"serves no {request.what}")
        types = self.client.options.get("fetchMarkets")
        if isinstance(types, dict) and set(types.get("types", ())) >= {"spot", "linear"}:
            types["types"] = ["linear" if request.symbol.endswith((":USDT", ":USDC")) else "inverse"
                              if ":" in request.symbol else "spot"]  # fmt: skip
        self.call(self.client.load_markets)
        if request.symbol not in self.client.markets:
            raise Invalid(f"has no {request.symbol}")
        if request.what == "candles" and request.timeframe not in (self.client.timeframes or {}):
            raise Invalid(f"has no candles of {request.timeframe}; it has {', '.join(self.client.timeframes or {})}")

    def page(self, request: Request, cursor_ms: int) -> list[Row]:
        """Rows from ``cursor_ms`` on, sorted, perhaps beyond the end; raises ``Invalid``."""
        limit, symbol = _LIMITS[request.what], request.symbol
        if request.what == "candles":
            step = step_ms(request)
            until = {"until": min(request.until_ms, cursor_ms + limit * step) - 1}
            raw = self.call(self.client.fetch_ohlcv, symbol, request.timeframe, cursor_ms, limit, until)
            rows = [(*map(_number, r[:6]), self.name) for r in raw]
        elif request.what == "trades":
            raw = self.call(self.client.fetch_trades, symbol, cursor_ms, limit)
            rows = [(r["timestamp"], str(r["id"]), r["side"], r["price"], r["amount"], self.name) for r in raw]
        else:
            raw = self.call(self.client.fetch_funding_rate_history, symbol, cursor_ms, limit)
            rows = [(r["timestamp"], r["fundingRate"], self.name) for r in raw]
        for row in rows:
            if any(x is None for x in row) or (why := impossible(request.what, row, step_ms(request))):
                raise Invalid(f"answers {why if None not in row else 'with holes'}")
        rows.sort(key=lambda r: r[0])
        return [r for r in rows if r[0] >= cursor_ms]

    def call(self, ask: Callable[..., Any], *args: Any) -> Any:
        """One request, repeated after rate limits and lost connections; raises ``Invalid`` when it is hopeless."""
        lost = limited = 0
        while True:
            self.requests += 1
            try:
                answer = ask(*args)
            except ccxt.RateLimitExceeded as exc:
                wait = _LIMIT_WAITS_S[limited] if limited < len(_LIMIT_WAITS_S) else None
                limited, why = limited + 1, exc
            except ccxt.NetworkError as exc:
                wait = _WAITS_S[lost] if lost < (len(_WAITS_S) if self.answered else 2) else None
                lost, why = lost + 1, exc
            except ccxt.BaseError as exc:
                raise Invalid(f"refuses: {_short(exc)}") from exc
            except (KeyError, TypeError, ValueError, AttributeError) as exc:  # ccxt met an answer that it does not know
                raise Invalid(f"answers what ccxt cannot read: {exc!r}") from exc
            else:
                self.answered = True
                return answer
            if wait is None:
                raise Invalid(
                    ("does not answer: " if not self.answered else "answers no more: ") + _short(why)
                ) from why
            self.retries += 1
            self.sleep(wait)


def fetch(
    request: Request, sources: Sequence[Source], out: Path, progress: Callable[[float], None] | None = None
) -> dict[str, Any]:
    """Fetch what is missing in the file ``out``; returns the report, ``complete`` unless it was interrupted.

    Raises ``ConfigError``, ``DataError`` when no source has it, ``VenueUnreachable`` when none answers.
    """
    file = FetchFile(out, request.what, request.symbol, step_ms(request))
    cursor = file.next_ms(request.since_ms)
    new = 0
    complete = False
    try:
        for source in sources:
            if cursor >= request.until_ms:
                break
            try:
                source.open(request)
                for rows, upto in _pages(source, request, cursor):
                    new += file.add(rows)
                    cursor = max(cursor, upto)
                    if progress is not None:
                        progress((cursor - request.since_ms) / max(request.until_ms - request.since_ms, 1))
                if not file.rows:
                    cursor = request.since_ms
                    raise Invalid(f"has no {request.what} from {utc(cursor)} to {utc(request.until_ms)}")  # noqa: TRY301
                source.verdict = "ok"
            except Invalid as no:
                source.verdict = f"invalid: {no}"
        complete = cursor >= request.until_ms
        if complete:
            file.finish()
    except KeyboardInterrupt:  # the file goes on from here next time
        complete = False
    finally:
        file.close()
        for source in sources:
            with suppress(AttributeError):
                source.client.session.close()
    tried = [s for s in sources if s.verdict.startswith("invalid")]
    if len(tried) == len(sources) and not complete:
        told = "; ".join(f"{s.name} {s.verdict.removeprefix('invalid: ')}" for s in tried)
        kept = f" ({file.rows:,} rows are kept in {out.parent}; the same command goes on)" if file.rows else ""
        raise (DataError if any(s.answered for s in tried) else VenueUnreachable)(f"{request.symbol}: {told}{kept}")
    return {
        "what": request.what, "symbol": request.symbol, "path": str(out), "complete": complete, "new_rows": new,
        "first": utc(file.first_ms or 0), "last": utc(file.last_ms or 0),
        **file.continuity(request.since_ms, request.until_ms if complete else cursor),
        "sources": {s.name: s.verdict for s in sources},
        "requests": sum(s.requests for s in sources), "retries": sum(s.retries for s in sources),
    }  # fmt: skip


def _pages(source: Source, request: Request, cursor: int) -> Any:
    """(rows, up to where they are complete) until the end of the request; raises ``Invalid``."""
    limit, step = _LIMITS[request.what], step_ms(request)
    first = True
    while cursor < request.until_ms:
        rows = source.page(request, cursor)
        if first and rows and request.what == "trades" and rows[0][0] > cursor + _REACH_MS:
            raise Invalid(f"begins {utc(rows[0][0])}: it serves recent trades only")
        first = False
        beyond = bool(rows) and rows[-1][0] >= request.until_ms
        rows = [r for r in rows if r[0] < request.until_ms]
        if beyond:
            upto = request.until_ms
        elif request.what == "candles":
            upto = rows[-1][0] + step if rows else min(request.until_ms, cursor + limit * step)
        elif not rows:  # binance answers with one hour of trades at most
            upto = request.until_ms if request.what == "funding" else cursor + _REACH_MS
        elif request.what == "funding":
            upto = rows[-1][0] + 1
        else:  # several trades share a time: ask for the last one again unless all of a page have it
            upto = rows[-1][0] if rows[-1][0] > cursor else (cursor if len(rows) < limit else cursor + 1)
            if upto == cursor:  # nothing after it
                upto = min(request.until_ms, cursor + _REACH_MS)
        cursor = upto
        yield rows, min(cursor, request.until_ms)


def fetch_command(
    exchanges: str, symbol: str, what: str, since: str, until: str | None, timeframe: str, out: Path,
    address: str = "", progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """``data fetch`` from the words of the command line; raises ``ConfigError`` that names the option."""
    if what not in COLUMNS:
        raise ConfigError(f"--what {what}: expected candles, trades or funding")
    unknown = [name for name in exchanges.split(",") if name not in ccxt.exchanges]
    if unknown:
        raise ConfigError(f"--exchange {unknown[0]}: ccxt knows no such exchange; e.g. bybit, binanceusdm, hyperliquid")
    now_ms = int(time.time() * 1000)
    request = Request(
        what, symbol, _ms(since, "--since"), min(_ms(until, "--until") if until else now_ms, now_ms), timeframe
    )
    if what == "candles":
        step = step_ms(request)  # only closed candles, from a whole one on
        begin, end = -(-request.since_ms // step) * step, min(request.until_ms, now_ms // step * step)
        request = Request(what, symbol, begin, end, timeframe)
    if request.since_ms >= request.until_ms:
        raise ConfigError(f"--since {since}: nothing lies between {utc(request.since_ms)} and {utc(request.until_ms)}")
    return fetch(request, [Source(name, address) for name in exchanges.split(",")], out, progress)


def step_ms(request: Request) -> int:
    """Length of a candle, 0 for what has none; raises ``ConfigError``."""
    if request.what != "candles":
        return 0
    try:
        return int(ccxt.Exchange.parse_timeframe(request.timeframe) * 1000)
    except (ccxt.BaseError, ValueError, KeyError, IndexError) as exc:
        raise ConfigError(f"--timeframe {request.timeframe}: expected e.g. 1m, 5m, 1h or 1d") from exc


def _ms(text: str, option: str) -> int:
    try:
        return parse_time(text) // 1_000_000
    except (ValueError, OverflowError) as exc:
        raise ConfigError(f"{option} {text}: expected a time such as 2024-01-01 or 2024-01-01T12:00") from exc


def _number(x: Any) -> Any:
    return int(x) if isinstance(x, float) and x == int(x) and abs(x) > 10**11 else x


def _moved(urls: Any, address: str) -> Any:
    """Every host of the exchange replaced by one."""
    if isinstance(urls, dict):
        return {key: _moved(value, address) for key, value in urls.items()}
    if not isinstance(urls, str) or "//" not in urls:
        return urls
    path = urls.split("//", 1)[1].partition("/")[2]
    return f"http://{address}" + (f"/{path}" if path else "")


def _short(exc: BaseException) -> str:
    return " ".join(str(exc).split())[:200]
