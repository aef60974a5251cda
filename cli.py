"""Raymaker: market making on Ray. Parse, load one config, call one function; everything else lives in the packages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import cli_sandbox
from cli_common import Json, status_line
from cli_common import note as _note
from cli_common import say as _say
from mm.errors import ConfigError, RaymakerError

if TYPE_CHECKING:
    from mm.config import RawConfig

app = typer.Typer(
    name="raymaker",
    help=(
        "Market making on Ray: one decision kernel, traded live and searched by Ray Tune.\n\n"
        "Start here:\n\n"
        "  python cli.py live                      make markets on a local exchange\n\n"
        "  python cli.py tune configs/grid.yaml    1,000 simulated trials of it\n\n"
        "Exit codes: 0 ok, 1 failed, 2 usage or config, 3 halted by risk, 4 venue unreachable."
    ),
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
venues_app = typer.Typer(help="The exchanges: what is known of them, and whether an account is ready.")
app.add_typer(venues_app, name="venues")
data_app = typer.Typer(help="Order-book data: import, look, synthesise.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(cli_sandbox.app, name="sandbox")

Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override any config key, e.g. --set strategy.model.A=1.2. Repeat."
    ),
]
Gamma = Annotated[str | None, typer.Option(help="Risk aversion: 0.1 (per quote currency), '0.1/bp' or '{q_max: 5}'.")]
Kappa = Annotated[str | None, typer.Option(help="Decay of fill intensity with distance, e.g. '0.7/bp'.")]
OrderSize = Annotated[str | None, typer.Option(help="Order size with its unit: '100 usd', '0.001 btc', '5 lots'.")]
Leverage = Annotated[str | None, typer.Option(help="Leverage; above 1 needs risk.max_leverage raised too.")]
Tag = Annotated[str | None, typer.Option(help="A word that is kept with the results.")]
Data = Annotated[str | None, typer.Option("--data", metavar="DIR", help="A store made by `data import` (or 'synth').")]
FillLadder = Annotated[
    bool, typer.Option("--fill-ladder", help="Every fill model from optimistic to pessimistic, with a blind control.")
]
RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Run id or a part of it; default: every run.")]


def _raw(
    path: Path, sets: list[str] | None, *, gamma: str | None = None, kappa: str | None = None,
    order_size: str | None = None, leverage: str | None = None, tag: str | None = None, data: str | None = None,
) -> RawConfig:  # fmt: skip
    from mm.config import load_raw

    items = list(sets or [])
    short = {
        "strategy.model.gamma": gamma, "strategy.model.kappa": kappa, "strategy.order_size": order_size,
        "risk.leverage": leverage, "tag": None if tag is None else json.dumps(tag),
        "data.source": None if data is None else json.dumps(data),
    }  # fmt: skip
    items += [f"{key}={value}" for key, value in short.items() if value is not None]
    return load_raw(_found(path), items)


def _found(path: Path) -> Path:
    """``path``, or where it is not there the file of that name in the project: so that defaults work anywhere."""
    ours = Path(__file__).resolve().parent / path
    return path if path.exists() or path.is_absolute() or not ours.is_file() else ours


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar with ETA on stderr; yields a function that takes the share done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"--out {out}: results cannot be written there: {exc}") from exc


def _png(path: Path | None, option: str) -> None:
    if path is not None and path.suffix.lower() != ".png":
        raise ConfigError(f"{option} {path}: pictures are PNG; end the name in .png")


def _decimal(text: str | None, option: str) -> Decimal | None:
    try:
        value = None if text is None else Decimal(text)
    except InvalidOperation as exc:
        raise ConfigError(f"{option}: expected a decimal number like 0.1, got {text!r}") from exc
    if value is not None and not (value.is_finite() and value > 0):
        raise ConfigError(f"{option}: expected a positive number, got {text}")
    return value


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"raymaker {version('raymaker')}")
        except PackageNotFoundError:  # run from a checkout, not installed
            text = (Path(__file__).resolve().parent / "pyproject.toml").read_text(encoding="utf-8")
            found = re.search(r'^version = "(.+)"', text, re.MULTILINE)
            print(f"raymaker {found[1] if found else 'unknown'}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version, and nothing else.")
    ] = False,
) -> None:
    """Options before the command."""


# --- trade -----------------------------------------------------------------------------------------------------------
@app.command()
def live(
    config: Annotated[Path, typer.Option(help="The run.")] = Path("configs/live.yaml"),
    duration: Annotated[str | None, typer.Option(help="How long, e.g. 60s or 8h. Default: until Ctrl-C.")] = None,
    sets: Sets = None, gamma: Gamma = None, kappa: Kappa = None, order_size: OrderSize = None,
    leverage: Leverage = None, tag: Tag = None, as_json: Json = False,
    real: Annotated[bool, typer.Option("--real", help="Trade on testnet or mainnet; asks for a sentence.")] = False,
) -> None:  # fmt: skip
    """Trade: a desk of Ray actors per exchange account. Paper by default, on a local exchange that it starts.

    Uses the Ray that is running (`ray start --head`), or starts its own on loopback. The actors are detached: they
    go on when this terminal dies; `status`, `stop`, `halt` and `rearm` reach them from any other. Ctrl-C stops
    gracefully and cancels every order.

    Example: python cli.py live --duration 60s --gamma '{q_max: 3}' --set risk.max_daily_loss_usd=50
    """
    from mm.config import validate

    if duration is not None:
        sets = [*(sets or []), f"live.duration={duration}"]
    cfg = validate(_raw(config, sets, gamma=gamma, kappa=kappa, order_size=order_size, leverage=leverage, tag=tag))
    from actors.real import allow

    allow(cfg, real=real, ask=lambda text: typer.prompt(text, "", show_default=False, prompt_suffix="", err=True))
    from actors.desk import live as run_live
    from actors.live_table import LiveTable
    from mm.core.first_run import LIVE, first_run

    with first_run(LIVE, _note), LiveTable(enabled=not as_json and sys.stderr.isatty()) as table:
        summary = run_live(cfg, str(config), cfg.live.duration, table.update)
    from mm.report import tables

    _say(summary, as_json, lambda: tables.live(summary))
    if summary.get("halted"):
        print(f"raymaker: the desk is halted: {summary['halted']}; `rearm` clears the latch", file=sys.stderr)
    elif summary.get("error"):
        print(f"raymaker: {summary['error']}", file=sys.stderr)
    if summary.get("exit_code"):
        raise typer.Exit(summary["exit_code"])


@app.command()
def status(as_json: Json = False) -> None:
    """What is running: every desk, its venues, positions, quotes and why a side is not quoted."""
    from actors.desk import status as run_status

    _say(run_status(), as_json)


@app.command()
def stop(run: RunId = None, as_json: Json = False) -> None:
    """Stop desks gracefully: cancel every order, write the summary; ends the Ray that `live` started, no other."""
    from actors.desk import stop as run_stop

    _say(run_stop(run), as_json)


@app.command()
def halt(
    run: RunId = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the latch.")] = "operator",
    as_json: Json = False,
) -> None:
    """Halt: no new order, every order cancelled, latched until `rearm`. The desk stays up and keeps watching."""
    from actors.desk import halt as run_halt

    _say(run_halt(run, reason), as_json)


@app.command()
def rearm(
    run: RunId = None,
    force: Annotated[bool, typer.Option("--force", help="Also a daily loss, before its UTC day is over.")] = False,
    as_json: Json = False,
) -> None:
    """Clear halt latches, of running desks and of earlier runs. A daily loss holds until 00:00 UTC."""
    from actors.desk import rearm as run_rearm

    _say(run_rearm(run, force=force), as_json)


@app.command()
def replay(
    run: Annotated[Path, typer.Argument(help="Folder of a live run, or its id below runs/.")],
    sets: Sets = None, as_json: Json = False,
) -> None:  # fmt: skip
    """A live run again: its frames, reports and decision moments through the kernel, every quote compared.

    Example: python cli.py replay runs/20260101T000000Z-live-ab12 --set strategy.model.kappa=2.53/bps
    """
    from actors.replay_job import replay_run
    from mm.report import tables

    with _progress("replay") as bar:
        found = replay_run(run, sets, bar)
    _say(found, as_json, lambda: tables.replay(found))
    untold = any("error" in sim for venue in found["venues"].values() for sim in venue.get("simulated", {}).values())
    if not sets and (untold or not found["identical"]):
        raise typer.Exit(1)


# --- simulate --------------------------------------------------------------------------------------------------------
@app.command()
def backtest(
    config: Annotated[Path, typer.Argument(help="The run.")] = Path("configs/live.yaml"),
    data: Data = None, out: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
    sets: Sets = None, gamma: Gamma = None, kappa: Kappa = None, order_size: OrderSize = None,
    leverage: Leverage = None, tag: Tag = None, fill_ladder: FillLadder = False, as_json: Json = False,
) -> None:  # fmt: skip
    """One trial: replay a tape through the decision kernel with queue position, latency and fees; keep everything.

    Same config, data and seed give the same result hash.

    Example: python cli.py backtest configs/live.yaml --data data/btc --kappa 0.7/bp
    """
    from mm.config import validate

    cfg = validate(
        _raw(config, sets, gamma=gamma, kappa=kappa, order_size=order_size, leverage=leverage, tag=tag, data=data)
    )
    from mm.core.first_run import SIMULATION, first_run
    from mm.report import job

    with first_run(SIMULATION, _note), _progress("synthetic tape") as bar:
        summary, table = job.run(cfg, out, fill_ladder=fill_ladder, progress=bar)
    _say(summary, as_json, table)
    if fill_ladder and not as_json:
        print(summary["path"])


@app.command(name="run")
def run_one(
    config: Annotated[Path, typer.Option(help="The run.")] = Path("configs/live.yaml"),
    data: Data = None, out: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
    sets: Sets = None, gamma: Gamma = None, kappa: Kappa = None, order_size: OrderSize = None,
    leverage: Leverage = None, tag: Tag = None, as_json: Json = False,
) -> None:  # fmt: skip
    """One trial of a config, the same as `backtest` (the name that `tune` users look for)."""
    backtest(config, data, out, sets, gamma, kappa, order_size, leverage, tag, as_json=as_json)


@app.command()
def compare(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="One file with `arms:`, or one an arm.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="DIR", help="Tape of all arms (store, synth:SEED). Repeat.")
    ] = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Every pair, not only against the first arm.")] = False,
    effect: Annotated[float, typer.Option(help="A difference worth finding, quote currency per hour.")] = 1.0,
    level: Annotated[float, typer.Option(help="Of all intervals together.")] = 0.95,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap.")] = 4000,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
    sets: Sets = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Strategies side by side on the same tape: paired differences with intervals, and what the data could tell.

    Exit code 0 whatever the difference, 2 when the arms cannot be compared.

    Example: python cli.py compare configs/compare/models.yaml --data data/monday --data data/tuesday
    """
    from mm.config.arms import arms_of
    from mm.core.first_run import SIMULATION, first_run
    from mm.report import compare as report
    from mm.sim.compare import Terms

    arms = arms_of([_raw(path, sets) for path in configs], data[0] if data else None)
    terms = Terms(level, effect, resamples, all_pairs, arms[0].config.seed)
    with first_run(SIMULATION, _note), _progress("synthetic tape") as bar:
        found = report.run(arms, data or [], out, terms, bar)
    _say(found, as_json, lambda: report.render(found))


@app.command()
def tune(
    config: Annotated[Path, typer.Argument(help="A run with axes: lists where a scalar belongs, {uniform: [a, b]}.")],
    data: Data = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many configurations; default: tune.trials.")] = None,
    max_par: Annotated[int | None, typer.Option("--max-par", min=1, help="How many at once.")] = None,
    out: Annotated[Path, typer.Option(help="Where results go.")] = Path("results"),
    sets: Sets = None, gamma: Gamma = None, kappa: Kappa = None, order_size: OrderSize = None,
    leverage: Leverage = None, tag: Tag = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Search: a thousand trials of one YAML by Ray Tune, one durable row per configuration.

    A killed sweep continues with `resume EXPERIMENT` and reruns nothing that is finished. The best of many trials is
    the luckiest: read the report before you believe it.

    Example: python cli.py tune configs/grid.yaml --trials 50 --set strategy.model.kappa='[0.5/bp, 2/bp]'
    """
    raw = _raw(config, sets, gamma=gamma, kappa=kappa, order_size=order_size, leverage=leverage, tag=tag, data=data)
    from mm.report import tables
    from tune.sweep import Options, sweep

    found = sweep(raw, trials=trials, out_root=out, options=Options(max_par=max_par))
    _say(found, as_json, lambda: tables.sweep(found))


@app.command()
def resume(
    experiment: Annotated[str, typer.Argument(help="Folder of a sweep, or its name below --out.")],
    max_par: Annotated[int | None, typer.Option("--max-par", min=1, help="How many at once.")] = None,
    out: Annotated[Path, typer.Option(help="Where results are.")] = Path("results"),
    as_json: Json = False,
) -> None:
    """Continue a killed sweep; finished configurations are not run again and the table comes out the same."""
    from mm.report import tables
    from tune.sweep import Options
    from tune.sweep import resume as run_resume

    found = run_resume(experiment, out_root=out, options=Options(max_par=max_par))
    _say(found, as_json, lambda: tables.sweep(found))


@app.command()
def calibrate(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="A store made by `data import`.")],
    out: Annotated[Path | None, typer.Option(help="Config to write; default: calibration.yaml in the store.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG to write; default: calibration.png in the store.")] = None,
    as_json: Json = False,
) -> None:
    """Estimate A and kappa per side, sigma and alpha from recorded trades and books, with 95 % intervals.

    What passes its gate goes to a config that `backtest` and `live` take; what does not is named there with the reason.

    Example: python cli.py calibrate --data data/btc && python cli.py backtest data/btc/calibration.yaml --data data/btc
    """
    from mm.report import calibration

    _png(plot, "--plot")
    summary = calibration.run(data, out, plot)
    _say(summary, as_json, lambda: calibration.table(summary))


# --- data ------------------------------------------------------------------------------------------------------------
@data_app.command("import")
def data_import(
    files: Annotated[
        list[Path], typer.Argument(help="Files in order of time: plain, .gz, .zip, .lz4, .npz, .parquet.")
    ],
    out: Annotated[Path, typer.Option(help="The store to write.")],
    fmt: Annotated[
        str, typer.Option("--format", help="auto, binance-collector, bybit, hyperliquid, tardis, hftbacktest, ohlcv.")
    ] = "auto",
    market: Annotated[str, typer.Option(help="linear (usdm), spot or inverse (cm).")] = "usdm",
    symbol: Annotated[str | None, typer.Option(help="Expected symbol; default: the one in the file.")] = None,
    tick_size: Annotated[str | None, typer.Option(help="Price step; default: known or inferred.")] = None,
    lot_size: Annotated[str | None, typer.Option(help="Size step; default: known or inferred.")] = None,
    max_bad: Annotated[int, typer.Option(min=0, help="More bad lines than this and the import fails.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Recorded or downloaded files to a memory-mapped store, with a quality report. Books and trades are merged.

    Example: python cli.py data import 2024-05-01_BTCUSDT_ob500.data.zip BTCUSDT2024-05-01.csv.gz --out data/btc
    """
    from mm.data.importers import import_files
    from mm.data.quality import render

    tick, lot = _decimal(tick_size, "--tick-size"), _decimal(lot_size, "--lot-size")
    with _progress("import") as bar:
        report = import_files(
            fmt, market, files, out, symbol=symbol, tick_size=tick, lot_size=lot, max_bad=max_bad, progress=bar
        )
    _say(report, as_json, lambda: render(report))


@data_app.command("record")
def data_record(
    venue: Annotated[str, typer.Option(help="bybit, mexc, hyperliquid, apex, paradex or native.")],
    out: Annotated[Path, typer.Option(help="Directory of the recording; an unfinished one goes on.")],
    network: Annotated[str, typer.Option(help="testnet, mainnet, or local with --address.")] = "mainnet",
    address: Annotated[str | None, typer.Option(help="host:port of a local exchange (`sandbox`).")] = None,
    instruments: Annotated[str | None, typer.Option(help="Symbols, comma-separated; default: all in its spec.")] = None,
    duration: Annotated[str | None, typer.Option(help="How long, e.g. 8h. Default: until Ctrl-C.")] = None,
    rotate: Annotated[str | None, typer.Option(help="A new part every so long or so large: 1h, 500MB.")] = None,
    min_free: Annotated[str | None, typer.Option(help="Stop when the disk has less left; default 2GB.")] = None,
    as_json: Json = False,
) -> None:
    """Live market data, raw and decoded into stores, without keys. Ctrl-C finishes; killed, it goes on when started.

    Example: python cli.py data record --venue bybit --instruments BTCUSDT --rotate 1h --out data/live
    """
    from actors.record import limits_of, record
    from mm.report import tables

    limits = limits_of(rotate, duration, min_free)
    with status_line(enabled=not as_json) as line:
        found = record(
            venue, network, address, instruments.split(",") if instruments else None, out, limits, line, _note
        )
    _say(found, as_json, lambda: tables.recording(found))
    if found["stopped"].startswith(("cannot", "the disk")):
        _note(found["stopped"])
        raise typer.Exit(1)


@data_app.command("fetch")
def data_fetch(
    exchange: Annotated[
        str, typer.Option(help="A name that ccxt knows, or several, tried in order: bybit,binanceusdm.")
    ],
    symbol: Annotated[str, typer.Option(help="As ccxt writes it: BTC/USDT:USDT (perp), BTC/USDT (spot).")],
    since: Annotated[str, typer.Option(help="From when, e.g. 2024-01-01 or 2024-01-01T12:00 (UTC).")],
    out: Annotated[Path, typer.Option(help="File to write or continue: .csv or .parquet.")],
    what: Annotated[str, typer.Option(help="candles, trades or funding.")] = "candles",
    until: Annotated[str | None, typer.Option(help="Until when; default: now.")] = None,
    timeframe: Annotated[str, typer.Option(help="Of candles: 1m, 5m, 1h, 1d, ...")] = "5m",
    address: Annotated[str, typer.Option(help="host:port that stands for the exchange's hosts (tests).")] = "",
    as_json: Json = False,
) -> None:
    """Market history from an exchange's public API; the same command again goes on where the file ends.

    Example: python cli.py data fetch --exchange bybit --symbol BTC/USDT:USDT --since 2024-01-01 --out data/btc.parquet
    """
    from actors.fetch import fetch_command

    with _progress(what) as bar:
        found = fetch_command(exchange, symbol, what, since, until, timeframe, out, address, bar)
    _say(found, as_json)
    if not found["complete"]:
        _note("interrupted; the same command goes on")
        raise typer.Exit(1)


@data_app.command("info")
def data_info(
    path: Annotated[Path, typer.Argument(help="A store.")],
    as_json: Json = False,
) -> None:
    """The quality report of a store."""
    from mm.data import candles
    from mm.data.quality import info, render

    report = candles.info(path) if candles.read_meta(path) else info(path)
    _say(report, as_json, lambda: render(report))


@data_app.command("plot")
def data_plot(
    path: Annotated[Path, typer.Argument(help="A store.")],
    out: Annotated[Path | None, typer.Option(help="PNG to write; default: plot.png in the store.")] = None,
) -> None:
    """Mid, spread and trades of a store as one picture."""
    from mm.report.data_plots import plot_store

    _png(out, "--out")
    out = out or path / "plot.png"
    with _writing(out):
        print(plot_store(path, out))


@data_app.command("synth")
def data_synth(
    out: Annotated[Path, typer.Option(help="The store to write.")],
    duration: Annotated[str, typer.Option(help="Length of the tape, e.g. 600s or 4h.")] = "600s",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same tape.")] = 1,
    as_json: Json = False,
) -> None:
    """Seeded synthetic order flow with adverse selection: Hawkes market orders around a moving fair price."""
    from mm.core.units import parse_seconds
    from mm.data.quality import info, render
    from mm.data.synth import SynthSpec, write_synth

    try:
        seconds = parse_seconds(duration)
    except ValueError as exc:
        raise ConfigError(f"--duration: {exc}") from exc
    with _progress("synthetic flow") as bar:
        write_synth(out, SynthSpec(), seed, seconds, bar)
    report = info(out)
    _say(report, as_json, lambda: render(report))


# --- venues ----------------------------------------------------------------------------------------------------------
@venues_app.callback(invoke_without_command=True)
def venues(
    ctx: typer.Context,
    write: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
) -> None:
    """What is known of each venue without asking it: dated fee tables, lots, margins, limits, as Markdown."""
    if ctx.invoked_subcommand is not None:
        return
    from mm.report.venue_tables import markdown

    if write is None:
        print(markdown())
        return
    try:
        write.write_text(markdown(), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"--write {write}: {exc}") from exc


@venues_app.command("check")
def venues_check(
    venue: Annotated[str, typer.Option(help="bybit, mexc, hyperliquid, apex or paradex.")],
    network: Annotated[
        str | None, typer.Option(help="testnet, mainnet or local. Default: testnet; local with --address.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="host:port of a local exchange (`sandbox`).")] = None,
    instruments: Annotated[str | None, typer.Option(help="Symbols, comma-separated; default: all in its spec.")] = None,
    as_json: Json = False,
) -> None:
    """Is an account ready? Keys, clock, fees, balance, smallest orders. Asks only: no order is placed.

    Keys come from RAYMAKER_<VENUE>_<KEY> in the environment or in .env; they are never shown.

    Example: python cli.py venues check --venue bybit --network testnet
    """
    from actors.venue_check import check
    from mm.report import tables

    network = network or ("local" if address else "testnet")
    found = check(venue, network, address, instruments.split(",") if instruments else None)
    _say(found, as_json, lambda: tables.findings(found))
    if not found["ok"]:
        raise typer.Exit(1)


def main() -> None:
    """Entry point: errors a user can cause become one message and the exit code of their kind."""
    completion = any(arg.startswith(("--show-completion", "--install-completion")) for arg in sys.argv[1:])
    try:
        app(prog_name="raymaker" if completion else None)  # a shell completes commands, not `python cli.py`
    except RaymakerError as exc:
        print(f"raymaker: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
