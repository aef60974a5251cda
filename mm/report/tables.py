"""Results as tables for the terminal: what a person looks at first, with units, and where the rest lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

# name of a figure: label, format, unit
_SHOWN: Final = {
    "pnl_usd": ("profit after fees", "+,.4f", "usd"),
    "fees_usd": ("fees", ",.4f", "usd"),
    "funding_usd": ("funding", ",.4f", "usd"),
    "max_drawdown_usd": ("largest drawdown", ",.4f", "usd"),
    "fills": ("fills", ",", ""),
    "taker_fills": ("of them as taker", ",", ""),
    "volume_usd": ("traded", ",.0f", "usd"),
    "pnl_per_volume_bps": ("profit per volume", "+.3f", "bps"),
    "spread_capture_bps": ("edge at the fill", "+.3f", "bps"),
    "adverse_selection_5s_bps": ("mid 5 s after the fill", "+.3f", "bps"),
    "round_trips": ("round trips", ",", ""),
    "win_rate": ("of them won", ".1%", ""),
    "position": ("position at the end", ",g", ""),
    "max_abs_position": ("largest position", ",g", ""),
    "clamped_share": ("quotes moved by a spread bound", ".1%", "of the decisions"),
    "quote_uptime": ("both sides quoted", ".1%", "of the time"),
    "orders": ("orders", ",", ""),
    "rejects": ("rejected (post-only, limits)", ",", ""),
    "span_s": ("simulated", ",.1f", "s"),
    "alerts": ("alerts (trial.log)", ",", ""),
    "halted": ("halted", "", ""),
}


def rows(result: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A JSON-like object as (dotted key, text), however deep."""
    for key, value in result.items():
        if isinstance(value, dict) and value:
            yield from rows(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            for k, item in enumerate(value):
                yield from rows(item, f"{prefix}{key}.{k}.")
        else:
            yield f"{prefix}{key}", text(value)


def text(value: Any) -> str:
    """One value for people."""
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "-" if value is None else str(value)


def plain(result: dict[str, Any]) -> Table:
    """Any result, one row per leaf."""
    return _table(list(rows(result)))


def backtest(summary: dict[str, Any], size_unit: str) -> Table:
    """One trial: what ``backtest --json`` has, the figures that matter first; ``size_unit`` of positions."""
    shown = list(_figures(summary["metrics"], size_unit))
    shown.append(("result hash", summary["result_hash"][:16]))
    shown.append(("picture, fills, all figures", summary["path"]))
    return _table(shown)


def sweep(summary: dict[str, Any]) -> Table:
    """A sweep: what ``tune --json`` has, the best trial readable, and what to open."""
    best = summary["best"] or {}
    metrics, metric = best.get("metrics", {}), summary["metric"]
    shown = [
        ("experiment", summary["experiment"]),
        ("trials", f"{summary['trials']:,}, {summary['failed']:,} failed, {summary['wall_s']:.1f} s"),
    ]
    if best:
        shown.append((f"best {metric}", f"{text(metrics.get(metric))} (trial {best['index']})"))
        shown += [(f"  {key}", text(value)) for key, value in best["params"].items()]
        shown += [(f"  {label}", said) for label, said in _figures(metrics, "")]
    shown += [
        ("table hash", summary["table_hash"][:16]),
        ("report", f"{summary['path']}/index.html"),
    ]
    if best:
        shown.append(("the best as a config", f"{summary['path']}/best.yaml"))
        shown.append(("mind", f"the best of {summary['trials']:,} trials is also the luckiest of them"))
    return _table(shown)


def live(summary: dict[str, Any]) -> Table:
    """A live run: what ``live --json`` has, an account a block."""
    shown = [("run", summary["run_id"]), ("lasted", f"{summary['duration_s']:.1f} s")]
    for name, venue in summary["venues"].items():
        shown += [
            (name, f"{_count(venue['fills'])} fills, {_count(venue['taker_fills'])} of them as taker"),
            ("  orders", f"{venue['orders_sent']:,} sent, {venue['rejects']:,} rejected"),
            ("  left open", f"{_count(venue['open_orders_left'])} orders, position {text(venue['position'])}"),
            (
                "  both sides quoted",
                "-" if venue["quote_uptime"] is None else f"{venue['quote_uptime']:.1%} of the time",
            ),
        ]
        if venue.get("pnl_usd") is not None:
            shown.append(("  profit after fees", f"{venue['pnl_usd']:+,.4f} usd, fees {text(venue.get('fees_usd'))}"))
        audit = venue.get("fee_audit") or {}
        if audit.get("fills"):
            wrong = audit["mismatches"]
            verdict = f"{wrong:,} differ from the schedule: {audit['last_mismatch']}" if wrong else "all as scheduled"
            shown.append(("  fees of fills", f"{audit['charged']} charged, {verdict}"))
        if venue.get("error"):
            shown.append(("  the venue", venue["error"]))
    speed, memory = summary["tick_to_order_us"], summary["rss_mb"]
    if speed.get("p50") is not None:
        shown.append(("tick to order", f"{speed['p50']:,.0f} µs median, {speed['p99']:,.0f} µs at 99 %"))
    if memory:
        ours = sum(mb for name, mb in memory.items() if not name.startswith("ray."))
        theirs = sum(mb for name, mb in memory.items() if name.startswith("ray."))
        shown.append(("memory", f"{ours:,.0f} MB and {theirs:,.0f} MB of Ray's own processes"))
    if summary.get("halted"):
        shown.append(("halted", str(summary["halted"])))
    if summary.get("path"):
        shown.append(("picture, fills, journal", summary["path"]))
    return _table(shown)


def _count(n: int | None) -> str:
    return "unknown, the venue did not say:" if n is None else f"{n:,}"


def _simulated(symbol: str, sim: dict[str, Any]) -> list[tuple[str, str]]:
    if "error" in sim:
        return [(f"  {symbol}", sim["error"])]
    share = sim["pnl_diff_pct_of_capture"]
    causes = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in sim["causes"].items() if n) or "none"
    return [
        (f"  {symbol} simulated", f"{sim['fills_sim']:,} fills, live {sim['fills_live']:,}"),
        ("  fills that are the same", f"{sim['fills_same']:,}; of the others: {causes}"),
        ("  profit before fees", f"{sim['pnl_sim_usd']:+.4f} usd, live {sim['pnl_live_usd']:+.4f}"),
        (
            "  difference",
            "-" if share is None else f"{share:.1f} % of the captured spread of {sim['capture_live_usd']:.4f} usd",
        ),
        ("  fills within 5 %", _verdict(sim["fills_within_5_pct"])),
        ("  profit within 10 %", _verdict(sim["pnl_within_10_pct"])),
        ("  same market seen", f"at {sim['market_same_pct']:.2f} % of the decisions"),
        *(("  note", note) for note in sim["notes"]),
        ("  picture, fills, tape", sim["path"]),
    ]


def _verdict(held: bool | None) -> str:
    return {True: "yes", False: "no", None: "nothing to judge"}[held]


def replay(found: dict[str, Any]) -> Table:
    """A replayed run: what ``replay --json`` has, a venue a block."""
    shown = [("run", str(found["run"]))]
    for name, venue in found["venues"].items():
        quotes = venue["quotes"]
        shown += [
            (name, f"{quotes['identical']:,} of {quotes['decisions']:,} decisions identical, bit by bit"),
            ("  commands compared", f"{quotes['commands']:,}"),
        ]
        if quotes["unreached"]:
            shown.append(("  beyond the record", f"{quotes['unreached']:,} decisions"))
        shown += [("  note", note) for note in quotes["notes"]]
        for symbol, sim in venue.get("simulated", {}).items():
            shown += _simulated(symbol, sim)
    return _table(shown)


def findings(found: dict[str, Any]) -> Table:
    """What `venues check` looked at."""
    return _table([(f["what"], f"{f['verdict']}: {f['detail']}") for f in found["findings"]])


def recording(found: dict[str, Any]) -> Table:
    """What `data record` wrote: the whole, then a line a store."""
    shown = [(key.replace("_", " "), str(value)) for key, value in found.items() if key != "stores"]
    for store in found["stores"]:
        latency = store.get("feed_latency_ms", {})
        said = (
            f"{store['events']:,} events, {store['trades']:,} trades, {store['span_s']:,.1f} s, {store['gaps']} gaps, "
        )
        said += (
            f"{store['crossed']} crossed, latency p50 {latency.get('p50', '-')} ms, p99 {latency.get('p99', '-')} ms"
        )
        shown.append((store["instrument"]["symbol"], f"{said}\n{store['path']}"))
    return _table(shown)


def _figures(metrics: dict[str, Any], size_unit: str) -> Iterator[tuple[str, str]]:
    for name, (label, style, unit) in _SHOWN.items():
        value = metrics.get(name)
        if name in ("halted", "alerts") and not value:
            continue
        after = size_unit if "position" in name else unit
        yield label, "-" if value is None else f"{value:{style}} {after}".rstrip()


def _table(shown: list[tuple[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    out = Table(show_header=False, box=None, pad_edge=False)
    out.add_column(style="bold", no_wrap=True)
    out.add_column(overflow="fold")
    for label, said in shown:
        out.add_row(label, Text(said))
    return out
