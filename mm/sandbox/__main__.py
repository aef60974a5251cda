"""``python -m mm.sandbox --spec FILE|- [--port 0] [--watch-pid PID]``: one local exchange process.

Prints one line of JSON on stdout when it listens, ``{"port": N, "face_port": N, "pid": N}`` (face_port 0:
no venue's wire is spoken); everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from pathlib import Path

import uvloop

from mm.errors import ConfigError, RaymakerError
from mm.sandbox.server import Server
from mm.sandbox.spec import ExchangeSpec, parse_spec


def main(argv: list[str] | None = None) -> int:
    """Run until told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mm.sandbox", description="A local exchange on 127.0.0.1.")
    parser.add_argument(
        "--spec", required=True, metavar="FILE", help="JSON: instruments, accounts, background; - is stdin"
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--watch-pid", type=int, default=None, metavar="PID", help="end when this process is gone")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        spec = _read(args.spec)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(spec, args.port, args.watch_pid))
    except RaymakerError as exc:
        logging.getLogger("mm.sandbox").error("%s", exc)  # noqa: TRY400  a message for people, no traceback
        return exc.exit_code
    return 0


def _read(where: str) -> ExchangeSpec:
    try:
        raw = sys.stdin.buffer.read() if where == "-" else Path(where).read_bytes()
    except OSError as exc:
        raise ConfigError(f"{where}: cannot read the spec of the exchange: {exc}") from exc
    return parse_spec(raw, where)


async def _serve(spec: ExchangeSpec, port: int, watch_pid: int | None) -> None:
    server = Server(spec)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    gc.collect()
    gc.freeze()  # what start-up made is never garbage: collections stay short
    await server.run(port, _announce, watch_pid)


def _announce(port: int, face_port: int) -> None:
    sys.stdout.write(json.dumps({"port": port, "face_port": face_port, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
