"""The terminal's view of a running desk: one line an instrument, refreshed in place, on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table


class LiveTable:
    """A context manager; ``update(status)`` redraws. Disabled (a pipe, ``--json``) it does nothing."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True) if enabled else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, status: dict[str, Any]) -> None:
        """Show what the supervisor says (``actors.desk.Desk.status``)."""
        if self._live is not None:
            self._live.update(render(status), refresh=True)


def render(status: dict[str, Any]) -> Table:
    """The table of one status."""
    left = ""
    if status.get("duration_s"):
        left = f" of {status['duration_s']:.0f}"
    title = f"{status.get('run_id', '')}  {status.get('state', '')}  {status.get('elapsed_s', 0.0):.0f}{left} s"
    table = Table(title=title, caption="Ctrl-C stops and cancels everything", caption_justify="left")
    for name in ("venue", "instrument", "mid", "bid", "ask", "position", "profit", "fills", "why", "tick to order"):
        table.add_column(name, justify="left" if name in ("venue", "instrument", "why") else "right")
    for venue, roles in status.get("venues", {}).items():
        quoter, executor = roles.get("quoter", {}), roles.get("executor", {})
        latency = executor.get("tick_to_order_us") or {}
        speed = f"{latency['p50']:.0f} µs" if latency.get("p50") is not None else ""
        for view in quoter.get("instruments", []):
            table.add_row(
                venue, str(view.get("symbol", "")), _price(view.get("mid")), _price(view.get("bid")),
                _price(view.get("ask")), _number(view.get("position"), 6), _number(view.get("pnl_usd"), 2),
                str(view.get("fills", "")), _why(view), speed,
            )  # fmt: skip
    return table


def _why(view: dict[str, Any]) -> str:
    """The reason of the last decision, and which other controls acted on it."""
    reason = str(view.get("reason", "starting"))
    others = [name for name in view.get("acting", ()) if name != reason]
    return f"{reason} (+ {', '.join(others)})" if others else reason


def _price(value: Any) -> str:
    return "" if value is None else f"{value:,.10g}"


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
