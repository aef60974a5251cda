"""The Ray head of a desk: use the one that runs, else start our own and later end exactly that one.

A head of ours listens on the loopback interface only and asks for a token. Ray moves ``127.0.0.1`` to the machine's
outer address unless told that this is no cluster (``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0``, a plain switch despite its
name), and it switches token authentication off where no token exists; so we set the one and make the other, in Ray's
own place (``~/.ray/auth_token``), where drivers, workers, the dashboard and Ray's command line all look.

``ray stop`` ends every Ray on a machine. A head of ours is a session of its own (``setsid``): ending it is ending that
session's processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from actors.home import home, read_json, scratch, write_json
from mm.errors import RaymakerError

_DEFAULT_GCS_PORT: Final = 6379
_DEFAULT_DASHBOARD_PORT: Final = 8265
_ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class RayHead:
    """A head that we started: enough to find it, and to end it and nothing else."""

    address: str
    dashboard: str
    session: int  # session id (setsid) of all its processes
    temp_dir: str
    started: float  # seconds since the epoch; no process of the session is older

    def processes(self) -> list[psutil.Process]:
        """What still runs of it."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = os.getsid(process.pid) == self.session and process.create_time() >= self.started - 5.0
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
                continue
        return found


@dataclass(frozen=True, slots=True)
class RayConnection:
    """Where to connect. ``head`` is set when the head is one that raymaker started (now or earlier)."""

    address: str
    started: bool
    head: RayHead | None = None


def own_head() -> RayHead | None:
    """The head that an earlier call started, while it lives."""
    raw = read_json(_state_file())
    if raw is None:
        return None
    head = RayHead(**raw)
    host, _, port = head.address.rpartition(":")
    return head if _listens(host, int(port)) and head.processes() else None


def find_ray() -> RayConnection | None:
    """A running head: ``$RAY_ADDRESS``, the one we started, one on the default port; None when there is none."""
    head = own_head()
    given = os.environ.get("RAY_ADDRESS")
    if given and given != "auto":
        return RayConnection(given, started=False, head=head if head and head.address == given else None)
    if head is not None:
        return RayConnection(head.address, started=False, head=head)
    for host in ("127.0.0.1", _outer_address()):
        if host and _listens(host, _DEFAULT_GCS_PORT) and _is_ray(_DEFAULT_GCS_PORT):
            return RayConnection(f"{host}:{_DEFAULT_GCS_PORT}", started=False)
    return None


def ensure_ray() -> RayConnection:
    """Find a head or start one. Prepares this process's environment for connecting to it."""
    with (home() / "ray.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two desks that start at once share one head
        found = find_ray()
        if found is None:
            head = start_head()
            found = RayConnection(head.address, started=True, head=head)
    prepare_environment(found)
    return found


def prepare_environment(connection: RayConnection) -> None:
    """Set what Ray's driver reads from the environment; must come before ``import ray``."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if _token_file().exists() and "RAY_AUTH_TOKEN" not in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    if connection.address.startswith("127."):
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


def start_head(timeout_s: float = 90.0, *, again: bool = True) -> RayHead:
    """Start a head on free ports; raises ``RaymakerError`` with Ray's own words when it does not come up.

    ``again``: once more when somebody took one of the ports between our look for it and Ray's use of it.
    """
    _make_token()
    temp_dir = scratch() / f"ray-{secrets.token_hex(3)}"
    temp_dir.mkdir(mode=0o700)
    port = _free_port(0)  # never the default one, where other users look for a Ray to join and have no token for ours
    dashboard = _free_port(_DEFAULT_DASHBOARD_PORT)
    command = [
        *_ray_command(), "start", "--head", "--node-ip-address=127.0.0.1", f"--port={port}",
        "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", "--include-dashboard=true",
        f"--ray-client-server-port={_free_port(10001)}", f"--dashboard-agent-listen-port={_free_port(52365)}",
        f"--temp-dir={temp_dir}", "--disable-usage-stats",
    ]  # fmt: skip
    started = time.time()
    with (temp_dir / "start.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  our own interpreter and Ray's own entry point
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_head_environment(), start_new_session=True,
            cwd=temp_dir,
        )  # fmt: skip
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = -1
        except BaseException:
            stop_head(RayHead("", "", process.pid, str(temp_dir), started))
            raise
    head = RayHead(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", process.pid, str(temp_dir), started)
    if code != 0:
        text = (temp_dir / "start.log").read_text(errors="replace")[-3_000:]
        process.kill()
        stop_head(head)
        if again and "address already in use" in text.lower():
            return start_head(timeout_s, again=False)
        raise RaymakerError(f"ray start --head failed ({code}):\n{text}")
    try:
        write_json(_state_file(), asdict(head))
    except OSError as exc:  # nobody would find it again
        stop_head(head)
        raise RaymakerError(f"{_state_file()}: {exc}") from exc
    return head


def stop_head(head: RayHead, timeout_s: float = 1.0) -> None:
    """End the processes of one head and remove its temporary directory; harmless when it has gone.

    Ray's own processes wait for each other and do not end on SIGTERM in any time: ``timeout_s`` is for our workers.
    """
    for insist, wait_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        alive = head.processes()
        if not alive:
            break
        for process in sorted(alive, key=_workers_first):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(insist)
        psutil.wait_procs(alive, wait_s)
    shutil.rmtree(head.temp_dir, ignore_errors=True)
    raw = read_json(_state_file())
    if raw is not None and raw.get("session") == head.session:
        _state_file().unlink(missing_ok=True)


def _workers_first(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.name() in ("gcs_server", "raylet"))
    return 0


def _head_environment() -> dict[str, str]:
    env = dict(os.environ)
    env |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "token"),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
    }
    for name in ("RAY_ADDRESS", "RAY_JOB_ID"):
        env.pop(name, None)
    # keys are for the executors alone (`actors.keys`), and every process of Ray would inherit them
    return {name: value for name, value in env.items() if not name.startswith("RAYMAKER_") or name == "RAYMAKER_HOME"}


def _ray_command() -> list[str]:
    script = Path(sys.executable).with_name("ray")
    return [str(script)] if script.exists() else [sys.executable, "-m", "ray.scripts.scripts"]


def _state_file() -> Path:
    return home() / "ray.json"


def _token_file() -> Path:
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(given) if given else Path.home() / ".ray" / "auth_token"


def _make_token() -> None:
    """A token in Ray's own place, unless there is one (or the user switched authentication off)."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = _token_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(32))


def _outer_address() -> str:
    """The machine's own address, where a user's ``ray start --head`` listens; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return ""


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), 0.5):
            return True
    except OSError:
        return False


def _is_ray(port: int) -> bool:
    """A Ray head of this user has the port, and not somebody else's or something else (it is Redis's port too)."""
    flag = f"--gcs_server_port={port}"
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = process.name() == "gcs_server" and process.uids().real == os.getuid()
            if mine and flag in process.cmdline():
                return True
    return False


def _free_port(wanted: int) -> int:
    """The wanted port when it is free on every address, else one that the system picks."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return int(probe.getsockname()[1])
    raise RaymakerError("no free TCP port")


def memory_mb(head: RayHead) -> dict[str, float]:
    """Resident memory of the head's own processes by name, MB."""
    out: dict[str, float] = {}
    for process in head.processes():
        with contextlib.suppress(psutil.Error):
            out[process.name()] = out.get(process.name(), 0.0) + round(process.memory_info().rss / 1e6, 1)
    return out
