"""Starting and stopping an exchange process, from any process."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from mm.errors import ConfigError, RaymakerError, VenueUnreachable
from mm.sandbox.spec import HOST
from mm.venues.native import wire

START_S: Final = 180.0  # a cold kernel cache on a busy machine

_ROOT: Final = Path(__file__).resolve().parents[2]
_children: Final[dict[int, subprocess.Popen[bytes]]] = {}  # started here and to be reaped here


@dataclass(frozen=True, slots=True)
class ExchangeHandle:
    """A running exchange: plain values, so that it can be written down and used by another process."""

    port: int
    pid: int
    started: float  # the process's creation time: a number taken over by another process is not this one
    control_token: str
    face_port: int = 0  # where it speaks a venue's wire; 0: it does not

    def process(self) -> psutil.Process | None:
        """The process while it lives."""
        try:
            process = psutil.Process(self.pid)
            alive = abs(process.create_time() - self.started) < 0.05 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


def start_exchange(
    spec: dict[str, Any], log_path: str | os.PathLike[str], watch_pid: int | None = None, timeout_s: float = START_S
) -> ExchangeHandle:
    """Start one exchange in a session of its own; returns when it listens.

    ``spec`` is ``mm.sandbox.spec.ExchangeSpec`` as plain data; it travels by a pipe, so no token reaches a disk or a
    command line. Raises ``RaymakerError`` with the end of the log when the process does not come up.
    """
    log_path = Path(log_path)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mm.sandbox", "--spec", "-"]
    if watch_pid is not None:
        command += ["--watch-pid", str(watch_pid)]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    try:
        line = _first_line(process, msgspec.json.encode(spec), timeout_s)
        told = json.loads(line)
        started = psutil.Process(told["pid"]).create_time()
        _children[process.pid] = process
        return ExchangeHandle(told["port"], told["pid"], started, spec["control_token"], told["face_port"])
    except (OSError, ValueError, KeyError, psutil.Error) as exc:
        process.kill()
        process.wait()
        tail = log_path.read_text(errors="replace")[-2_000:]
        raise RaymakerError(f"the local exchange did not start ({exc}); the end of {log_path}:\n{tail}") from exc
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def stop_exchange(handle: ExchangeHandle, timeout_s: float = 5.0) -> None:
    """Ask an exchange to end, then insist; harmless when it has gone."""
    process = handle.process()
    if process is not None:
        with contextlib.suppress(VenueUnreachable):
            control(handle, wire.Shutdown(token=handle.control_token))
        for insist in (process.terminate, process.kill, None):
            try:
                process.wait(timeout_s)
            except psutil.TimeoutExpired:
                if insist is not None:
                    insist()
            else:
                break
    child = _children.pop(handle.pid, None)
    if child is not None:
        child.poll()


def exchange_stats(handle: ExchangeHandle, timeout_s: float = 5.0) -> dict[str, Any]:
    """Counters of a running exchange; raises ``VenueUnreachable``."""
    stats: dict[str, Any] = control(handle, wire.Stats(token=handle.control_token), timeout_s)
    return stats


def control(handle: ExchangeHandle, request: wire.AnyRequest, timeout_s: float = 5.0) -> Any:
    """One request and its reply on a connection of its own; raises ``VenueUnreachable``, ``ConfigError`` if refused."""
    request.req_id = 1
    where = f"{HOST}:{handle.port}"
    try:
        with socket.create_connection((HOST, handle.port), timeout_s) as link:
            link.sendall(wire.frame(request))
            splitter = wire.Splitter(wire.MAX_MESSAGE)
            while data := link.recv(1 << 16):
                for raw in splitter.feed(data):
                    reply = msgspec.json.decode(raw, type=wire.Reply | wire.Error)
                    if isinstance(reply, wire.Reply):
                        return reply.data
                    raise ConfigError(f"{where}: the exchange refused: {reply.message}")
    except OSError as exc:
        raise VenueUnreachable(f"{where}: {exc}; is the local exchange still running?") from exc
    raise VenueUnreachable(f"{where}: the exchange closed the connection without an answer")


def _first_line(process: subprocess.Popen[bytes], spec: bytes, timeout_s: float) -> bytes:
    """Hand over the spec and wait for the line that says where the exchange listens."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("no pipes to the process")
    with contextlib.suppress(BrokenPipeError):  # it ended already; its log says why
        process.stdin.write(spec)
        process.stdin.close()
    out = process.stdout
    deadline = time.monotonic() + timeout_s
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(out, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise ValueError(f"silent for {timeout_s:g} s")
            part = os.read(out.fileno(), 4096)
            if not part:
                raise ValueError("it ended before it listened")
            line += part
    return line
