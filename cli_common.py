"""What the files of the command line share: one result, one line of JSON or a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]


def say(result: dict[str, Any], as_json: bool, table: Callable[[], Any] | None = None) -> None:
    """The result: a table for people, or exactly one JSON line."""
    if as_json:
        print(json.dumps(result, default=str), flush=True)
        return
    from rich.console import Console

    from mm.report import tables

    Console().print(table() if table else tables.plain(result))


def note(text: str) -> None:
    """A line for people on stderr."""
    print(f"raymaker: {text}", file=sys.stderr, flush=True)
