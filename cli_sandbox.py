"""``sandbox``: local exchanges that speak the wires of real ones, and what can be done to them while they run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli_common import Json, note, say

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from actors.sandbox import Status

app = typer.Typer()

Venue = Annotated[str, typer.Argument(help="bybit, mexc, hyperliquid, apex or paradex.")]


@app.callback(invoke_without_command=True)
def sandbox(
    ctx: typer.Context,
    venues: Annotated[str, typer.Option(help="Comma-separated; default: every venue there is.")] = "",
    instruments: Annotated[str, typer.Option(help="Base currencies, comma-separated.")] = "BTC",
    flow: Annotated[str, typer.Option(help="'synth', or a store made by `data import`.")] = "synth",
    speed: Annotated[float, typer.Option(min=0.01, max=1000, help="Of the flow, against the clock.")] = 1.0,
    duration: Annotated[str | None, typer.Option(help="How long, e.g. 60s. Default: until Ctrl-C.")] = None,
    funding: Annotated[str | None, typer.Option(help="So often, e.g. 60s. Default: at the venue's hours.")] = None,
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Print the accounts' keys.")] = False,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Start one local exchange per venue; the real client libraries trade there when they get its addresses.

    All venues follow one fair price, each at a basis and a delay of its own. The keys of the accounts are written to a
    file that only you can read, in the form of a .env file. With --json the addresses are the first line of stdout.

    Example: python cli.py sandbox --venues bybit,mexc --instruments BTC,ETH
    """
    if ctx.invoked_subcommand is not None:
        return
    from pathlib import Path

    from actors.sandbox import SHORTEST_FUNDING_S, Options, run
    from mm.errors import ConfigError

    def ready(found: dict[str, Any]) -> None:
        say(found, as_json, lambda: _addresses(found))
        if show_keys:
            print(Path(found["keys"]).read_text(encoding="utf-8"), end="", flush=True)
        elif not as_json:
            note(f"keys of the accounts: {found['keys']}")

    seconds, every = _seconds(duration, "--duration"), _seconds(funding, "--funding")
    names, bases = _list(venues), [base.upper() for base in _list(instruments)]
    if not bases:
        raise ConfigError("--instruments: expected base currencies, e.g. BTC,ETH")
    if every is not None and every < SHORTEST_FUNDING_S:
        raise ConfigError(f"--funding {funding}: at least {SHORTEST_FUNDING_S:g}s")
    with _line(enabled=not as_json and sys.stderr.isatty()) as show:
        summary = run(Options(names, bases, flow, speed, seconds, every), ready, show, note)
    counts = {
        venue: {k: c[k] for k in ("orders", "fills", "public_messages")} for venue, c in summary["venues"].items()
    }
    say(summary if as_json else {"elapsed_s": summary["elapsed_s"], **counts}, as_json)


@app.command()
def fault(
    venue: Venue,
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. ack_lost=1")] = None,
    drop: Annotated[str, typer.Option(help="End sockets now: private, public or all.")] = "",
    hard: Annotated[bool, typer.Option("--hard", help="Without a closing handshake.")] = False,
    as_json: Json = False,
) -> None:
    """Break something on a running exchange's wire; without a change, show what is broken.

    Switches (true, false): rest_down, ws_down, maintenance, stall_public, stall_private, no_pong. Counts, used up:
    rate_limited, ack_lost, error_after_accept, lose_public, lose_private, duplicate_public, duplicate_private,
    swap_public. Seconds: ack_delay_s, request_delay_s, clock_skew_s, token_life_s. What each does: docs/sandbox.md.

    Example: python cli.py sandbox fault bybit ack_lost=1 stall_public=true --drop private
    """
    from actors.sandbox import fault as run_fault
    from mm.errors import ConfigError

    if drop not in ("", "private", "public", "all"):
        raise ConfigError(f"--drop: expected private, public or all, got {drop!r}")
    say(run_fault(venue, changes or [], drop, hard=hard), as_json)  # type: ignore[arg-type]  # one of the literals


@app.command()
def play(
    venue: Venue,
    symbol: Annotated[str, typer.Argument(help="The venue's own name of the instrument.")],
    rows: Annotated[list[str], typer.Argument(help="KIND PRICE [SIZE], e.g. 'sell 60000 0.5' or 'mark 59000'.")],
    as_json: Json = False,
) -> None:
    """Trade, quote or move the mark as the anonymous market of a running exchange.

    Kinds: bid, ask (a level), buy, sell (a trade), mark, funding (PRICE RATE), clear_bid, clear_ask (beyond PRICE).

    Example: python cli.py sandbox play bybit BTCUSDT 'sell 59990 2' 'funding 60000 0.0001'
    """
    from actors.sandbox import play as run_play

    say({"played": run_play(venue, symbol, rows)}, as_json)


@app.command()
def stats(
    venues: Annotated[list[str] | None, typer.Argument(metavar="[VENUE]...", help="Default: all that run.")] = None,
    as_json: Json = False,
) -> None:
    """Orders, fills, sessions and messages of the running exchanges."""
    from actors.sandbox import stats as run_stats

    found = run_stats(venues or [])
    if not found:
        note("no sandbox runs; start one with `sandbox`")
    say(found, as_json)


def _seconds(text: str | None, option: str) -> float | None:
    from mm.core.units import parse_seconds
    from mm.errors import ConfigError

    try:
        return None if text is None else parse_seconds(text)
    except ValueError as exc:
        raise ConfigError(f"{option}: {exc}") from exc


def _list(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _addresses(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("venue", "REST", "WebSocket", "process", caption="Ctrl-C ends them", caption_justify="left")
    for venue, raw in found["venues"].items():
        table.add_row(venue, raw["rest"], raw["ws"], str(raw["pid"]))
    return table


def _line(*, enabled: bool) -> AbstractContextManager[Callable[[Status], None]]:
    """A line on stderr that is written over; yields the function that writes it."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.live import Live

    @contextmanager
    def shown() -> Any:
        if not enabled:
            yield lambda _status: None
            return
        with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

            def show(s: Status) -> None:
                gone = f"  [red]ended: {', '.join(s.gone)}[/red]" if s.gone else ""
                text = (
                    f"{s.elapsed_s:6.0f} s  orders {s.orders:,}  fills {s.fills:,}  sessions {s.sessions}  "
                    f"{s.messages_per_s:,.0f} messages/s{gone}"
                )
                live.update(text, refresh=True)

            yield show

    return shown()
