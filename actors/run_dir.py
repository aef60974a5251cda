"""A run's folder: ``runs/<id>/`` with raw frames, decisions, journal, fills, metrics, summary and picture."""

from __future__ import annotations

import json
import logging
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from actors import remote
from actors.base import DeskSpec
from actors.home import write_json
from actors.recorder import read_decisions
from mm.errors import DataError
from mm.sandbox.process import ExchangeHandle, exchange_stats
from mm.strategy.journal import read_journal

if TYPE_CHECKING:
    from actors.supervisor import End

log = logging.getLogger(__name__)


def new_run_id(desk: str) -> str:
    """UTC time, desk, four hex digits."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{desk}-{secrets.token_hex(2)}"


class MetricsLog:
    """A line of JSON per poll and instrument; becomes ``metrics.parquet`` at the end of the run."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def add(self, status: dict[str, Any]) -> None:
        for venue, roles in status["venues"].items():
            risk = roles.get("risk", {})
            for view in roles.get("quoter", {}).get("instruments", []):
                row = {
                    "ts": status["ts"], "venue": venue, "symbol": view["symbol"], "mid": view.get("mid"),
                    "bid": view.get("bid"), "ask": view.get("ask"), "position": view.get("position"),
                    "pnl_usd": risk.get("pnl_usd"), "drawdown_usd": risk.get("drawdown_usd"),
                    "fills": view.get("fills"), "sigma_per_sqrt_s": view.get("sigma_per_sqrt_s"),
                    "reason": view.get("reason"),
                }  # fmt: skip
                self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def finish_run(
    spec: DeskSpec, venues: list[str], stops: dict[str, Any], last: dict[str, Any],
    exchanges: dict[str, ExchangeHandle], elapsed_s: float, end: End,
) -> dict[str, Any]:  # fmt: skip
    """Turn what the actors left into tables, a picture and ``summary.json``; returns the summary."""
    latencies = [np.zeros(0, np.int64)]
    summary: dict[str, Any] = {"run_id": spec.run_id, "duration_s": round(elapsed_s, 3), "venues": {}}
    for venue in venues:
        parts = {role: _answer(stops, last, venue, role) for role in ("feed", "quoter", "risk", "executor")}
        latencies.append(np.frombuffer(parts["executor"].get("latencies", b""), np.int64))
        knows_us = not next(v for v in spec.cfg.live.venues if v.name == venue).paper  # of paper orders it has none
        summary["venues"][venue] = _venue_summary(parts, exchanges.get(venue) if knows_us else None)
    us = np.concatenate(latencies) / 1e3
    summary["tick_to_order_us"] = {
        "p50": round(float(np.percentile(us, 50)), 1) if len(us) else None,
        "p99": round(float(np.percentile(us, 99)), 1) if len(us) else None,
        "n": len(us),
    }
    summary["rss_mb"] = last.get("rss_mb", {})
    summary["halted"] = end.halted
    summary |= {
        "ended": end.why, "error": end.error, "exit_code": end.exit_code or (3 if end.halted else 0),
        "pnl_usd": sum(v["pnl_usd"] for v in summary["venues"].values()),
        "fees_usd": sum(v["fees_usd"] for v in summary["venues"].values()), "path": spec.run_dir,
    }  # fmt: skip
    write_json(spec.path("summary.json"), summary)
    return summary


def _answer(stops: dict[str, Any], last: dict[str, Any], venue: str, role: str) -> dict[str, Any]:
    """The last word of an actor; what it said before when it had none."""
    found = stops.get(f"{venue}/{role}")
    before: dict[str, Any] = last.get("venues", {}).get(venue, {}).get(role, {})
    return before if found is None or isinstance(found, remote.Failed) else before | found


def _venue_summary(parts: dict[str, dict[str, Any]], handle: ExchangeHandle | None) -> dict[str, Any]:
    feed, quoter, risk, executor = (parts[r] for r in ("feed", "quoter", "risk", "executor"))
    final = executor.get("final", {})
    positions = final.get("positions") or executor.get("positions", {})
    sizes = {symbol: float(size) for symbol, size in positions.items()}
    out = {
        "fills": final.get("fills"),
        "taker_fills": final.get("taker_fills"),
        "orders_sent": executor.get("orders_sent", 0),
        "rejects": executor.get("rejects", 0),
        "open_orders_left": final.get("open_orders_left"),  # None: the venue did not say
        "position": next(iter(sizes.values())) if len(sizes) == 1 else sizes,
        "quote_uptime": round(quoter.get("uptime", 0.0), 4),
        "pnl_usd": round(risk.get("pnl_usd", 0.0), 4),
        "fees_usd": round(risk.get("fees_usd", 0.0), 4),
        "drawdown_usd": round(risk.get("drawdown_usd", 0.0), 4),
        "frames": feed.get("frames", 0),
        "bad_frames": feed.get("bad_frames", 0) + executor.get("bad_frames", 0),
        "gaps": feed.get("gaps", 0),
        "decisions": quoter.get("decisions", 0),
        "conflated": quoter.get("conflated", 0),
        "refused": executor.get("refused", {}),
        "sessions": executor.get("sessions", 0),
        "unknown_outcomes": executor.get("unknown_outcomes", 0),
        "fee_audit": executor.get("fee_audit", {}),
        "restarts": {r: p.get("restarts", 0) for r, p in parts.items()},
    }
    if final.get("error"):
        out["error"] = final["error"]
    if handle is not None and handle.process() is not None:
        account = exchange_stats(handle)["accounts"]["desk"]
        out |= {
            "fills": account["fills"], "taker_fills": account["taker_fills"],
            "open_orders_left": account["open_orders"],
        }  # fmt: skip
    return out


def write_tables(spec: DeskSpec, venues: list[str]) -> None:
    """Fills, decisions and metrics as Parquet, and the picture."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from mm.report.live_plot import draw_live

    fills: list[dict[str, Any]] = []
    for venue in venues:
        try:
            fills += _fill_rows(spec, venue)
        except DataError as exc:
            log.error("fills of %s are incomplete: %s", venue, exc)  # noqa: TRY400  the message says it all
        decisions = read_decisions(spec.path("decisions", f"{venue}.bin"))
        spec.path("decisions").mkdir(exist_ok=True)
        table = pa.table({name: decisions[name] for name in decisions.dtype.names or ()})
        pq.write_table(table, spec.path("decisions", f"{venue}.parquet"))
    pq.write_table(pa.Table.from_pylist(fills, _fill_schema(pa)), spec.path("fills.parquet"))
    rows = _json_lines(spec.path("metrics.jsonl"))
    pq.write_table(pa.Table.from_pylist(rows), spec.path("metrics.parquet"))
    draw_live(spec.path("picture.png"), rows, fills, f"{spec.desk} · {spec.run_id}")


def _fill_schema(pa: Any) -> Any:
    return pa.schema([
        ("ts_exch_ns", pa.int64()), ("ts_recv_ns", pa.int64()), ("venue", pa.string()), ("symbol", pa.string()),
        ("order_id", pa.int64()), ("side", pa.int8()), ("tick", pa.int64()), ("lots", pa.int64()),
        ("price", pa.float64()), ("size", pa.float64()), ("fee", pa.string()), ("maker", pa.bool_()),
        ("trade", pa.string()),
    ])  # fmt: skip


def _fill_rows(spec: DeskSpec, venue: str) -> list[dict[str, Any]]:
    """Fills from the journal. Instrument facts stand in the venue's ``begin`` record."""
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    for r in read_journal(spec.path("journal", f"{venue}.jsonl")):
        if r["t"] == "begin":
            facts = r["instruments"]
        elif r["t"] == "exec" and r["kind"] == "fill":
            fact = facts[r["i"]]
            rows.append({
                "ts_exch_ns": r["ts_exch"], "ts_recv_ns": r["ts"], "venue": venue, "symbol": fact["symbol"],
                "order_id": r["id"], "side": r["side"], "tick": r["tick"], "lots": r["lots"],
                "price": r["tick"] * float(fact["tick_size"]), "size": r["lots"] * float(fact["lot_size"]),
                "fee": r["fee"], "maker": bool(r["maker"]), "trade": r["trade"],
            })  # fmt: skip
    return rows


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            log.warning("%s: a torn line was left out", path)
    return out
