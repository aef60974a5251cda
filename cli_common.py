"""What the files of the command line share: one result, one line of JSON or a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def status_line(*, enabled: bool) -> Iterator[Callable[[object], None]]:
    """A line on stderr that is written anew each time; every tenth time only where stderr is no terminal."""
    told = 0

    def write(text: object) -> None:
        nonlocal told
        told += 1
        if enabled and sys.stderr.isatty():
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        elif enabled and told % 10 == 0:
            note(str(text))

    yield write
    if enabled and told and sys.stderr.isatty():
        print(file=sys.stderr)
