"""The supervisor of a desk: starts exchanges and actors, watches them, ends the run, writes what it was.

It is the desk: the command line that started it may go. Ray restarts crashed actors by itself; the supervisor counts
restarts and ends a run that cannot live. When it is restarted itself it finds its run on disk and goes on watching.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import psutil

from actors import exchanges, keys, remote
from actors.base import DeskSpec, rss_mb
from actors.home import DAILY_LOSS, Latch, read_json, read_latch, scratch, write_json, write_latch
from actors.logs import log_to_files
from actors.run_dir import MetricsLog, finish_run, write_tables
from actors.transport import Curve, clear_stale, ipc_address, socket_dir
from mm.core.first_run import SANDBOX, first_run
from mm.errors import RaymakerError
from mm.sandbox.process import ExchangeHandle, stop_exchange

ROLES: Final = {
    "feed": "actors.feed:FeedActor",
    "quoter": "actors.quoter:QuoterActor",
    "risk": "actors.risk:RiskActor",
    "executor": "actors.executor:ExecutorActor",
}
DESK_RISK: Final = "actors.desk_risk:DeskRiskActor"
_ROOT: Final = Path(__file__).resolve().parents[1]
_POLL_S: Final = 0.5
_ANSWER_S: Final = 2.0
_START_S: Final = 120.0  # with a cold kernel cache the actors compile first
_START_EACH_S: Final = 60.0  # more for every further venue: six processes that load numba and a client library
_MAX_RESTARTS: Final = 10  # of one actor in one run


@dataclass(slots=True)
class End:
    """Why and how a run ends."""

    why: str
    halted: str | None = None
    error: str | None = None
    exit_code: int = 0


@dataclass(slots=True)
class _Member:
    """One actor of the desk."""

    name: str
    cls: str
    spec: DeskSpec
    handle: Any = None
    status: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0


class Supervisor:
    """``spec`` is the desk's (no venue yet); ``duration_s`` counts from the moment when everything runs."""

    def __init__(self, spec: DeskSpec, duration_s: float | None) -> None:
        os.environ["RAYMAKER_HOME"] = spec.home
        log_to_files(Path(spec.log_dir))
        self.spec = spec
        self.duration_s = duration_s
        self.log = logging.getLogger(f"{spec.desk}.supervisor")
        self.phase = "starting"
        self._file = spec.path("state", "desk.json")
        self._members: dict[str, _Member] = {}
        self._exchanges: dict[str, ExchangeHandle] = {}
        self._end: End | None = None
        self._wake = threading.Event()
        self._done = threading.Event()
        self._status: dict[str, Any] = {}
        self._running_since = 0.0
        self._epoch_ns = time.time_ns()  # when the price began that local exchanges share
        self._summary: dict[str, Any] = {}
        threading.Thread(target=self._run, name="supervisor", daemon=True).start()

    # --- called by Ray -----------------------------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        return self._snapshot()

    def stop(self, why: str = "stopped") -> bool:
        """Begin to end the run; returns at once."""
        self._finish(End(why))
        return True

    def wait(self, timeout_s: float) -> dict[str, Any] | None:
        """The summary when the run ends within the time."""
        return self._summary if self._done.wait(timeout_s) else None

    def halt(self, reason: str) -> dict[str, Any]:
        """Latch every executor and cancel everything: venue -> orders still open there (or what went wrong).

        The latches go to disk first, where an executor that does not answer now finds them when it is restarted.
        """
        for venue in self.spec.cfg.live.venues:
            if read_latch(self.spec.desk, venue.name) is None:
                write_latch(Latch(self.spec.desk, venue.name, "operator", time.time_ns(), self.spec.run_id, reason))
        return self._each_executor("halt", (reason,), 20.0)

    def rearm(self, force: bool = False) -> dict[str, Any]:
        """Lift the latches: venue -> whether it was lifted. A daily loss stays, with its limits, unless forced."""
        venues = [v.name for v in self.spec.cfg.live.venues]
        held = [latch for name in venues if (latch := read_latch(self.spec.desk, name)) is not None]
        if not force and any(latch.reason == DAILY_LOSS for latch in held):
            return dict.fromkeys(venues, False)
        for member in self._members.values():
            if member.name.endswith("/risk"):
                remote.ask(member.handle, "rearm", timeout_s=5.0)
        return self._each_executor("rearm", (force,), 10.0)

    def _each_executor(self, method: str, args: tuple[Any, ...], timeout_s: float) -> dict[str, Any]:
        calls = {
            m.spec.venue_config.name: (m.handle, method, args)
            for key, m in self._members.items()
            if key.endswith("/executor")
        }
        out = remote.gather(calls, timeout_s)
        return {name: r.error if isinstance(r, remote.Failed) else r for name, r in out.items()}

    # --- life --------------------------------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            known = read_json(self._file)
            ended = read_json(self.spec.path("summary.json"))
            if known is not None:
                self._rejoin(known, living_only=ended is not None)
            if ended is not None:
                self._conclude(ended)
                return
            if known is None:
                self._start()
            self._watch()
        except RaymakerError as exc:
            self.log.error("%s", exc)  # noqa: TRY400  the message is for people
            self._finish(End("failed", error=str(exc), exit_code=exc.exit_code))
        except BaseException as exc:
            self.log.critical("the supervisor failed", exc_info=True)
            self._finish(End("failed", error=f"{type(exc).__name__}: {exc}", exit_code=1))
        try:
            self._shut_down()
        except BaseException as exc:
            self._clear_away()
            self.log.critical("the end of the run failed", exc_info=True)
            first = self._end.error if self._end and self._end.error else f"{type(exc).__name__}: {exc}"
            self._summary = self._summary or {"run_id": self.spec.run_id, "error": first, "exit_code": 1}
        self._over()

    def _conclude(self, summary: dict[str, Any]) -> None:
        """The run had ended when we were restarted: clear away what is left, and start nothing."""
        self.log.warning("restarted after the end of run %s", self.spec.run_id)
        self._summary = summary
        self._clear_away()
        self._over()

    def _over(self) -> None:
        self.phase = "ended"
        with contextlib.suppress(OSError):
            write_json(self.spec.path("status.json"), self._snapshot())
        self._done.set()
        self._clean_up_alone()

    def _clean_up_alone(self) -> None:
        """When the command line that would end us (and the Ray it started) is gone, another process does."""
        if psutil.pid_exists(self.spec.cli_pid):
            return
        env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") or k.startswith("RAY_AUTH")}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), env.get("PYTHONPATH")]))
        code = f"from actors.desk import stop; stop({self.spec.run_id!r})"
        # a shell in between: when Ray ends this process it ends its children, but not their orphans
        subprocess.run(  # noqa: S603  our own interpreter and code
            ["/bin/sh", "-c", '"$@" &', "sh", sys.executable, "-c", code],
            env=env, cwd=self.spec.run_dir, start_new_session=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def _finish(self, end: End) -> None:
        if self._end is None:
            self._end = end
        self._wake.set()

    def _start(self) -> None:
        cfg = self.spec.cfg
        curve = asdict(Curve.new()) if cfg.live.transport == "tcp" else None
        base = replace(self.spec, curve=curve)
        address = _Addresses(cfg.live.transport, self.spec.prefix)
        inboxes = [{r: address.of(f"{n}{r}") for r in ROLES} for n, _ in enumerate(cfg.live.venues)]
        desk_risk = address.of("desk")
        executors = [i["executor"] for i in inboxes]
        name = f"{remote.PREFIX}{self.spec.desk}/"

        def venue_spec(n: int) -> DeskSpec:
            return self._venue_spec(replace(base, venue=n, inboxes=inboxes[n] | {"desk_risk": desk_risk}))

        numbers = range(len(cfg.live.venues))
        with first_run(SANDBOX, self.log.info) as cold, ThreadPoolExecutor(len(numbers)) as pool:
            first = [venue_spec(0)] if cold else []  # one exchange compiles for all
            specs = first + list(pool.map(venue_spec, numbers[len(first) :]))
        spec = replace(base, inboxes={"desk_risk": desk_risk}, executors=executors)
        self._members["risk"] = _Member(f"{name}risk", DESK_RISK, spec)
        for s in specs:
            for role, cls in ROLES.items():
                key = f"{s.venue_config.name}/{role}"
                self._members[key] = _Member(name + key, cls, s)
        for member in self._members.values():
            member.handle = remote.spawn(member.name, member.cls, member.spec)
        self._save()

    def _venue_spec(self, spec: DeskSpec) -> DeskSpec:
        venue = spec.venue_config
        if venue.embedded:
            log = self.spec.path("exchange", f"{venue.name}.log")
            # the parent of a Ray worker is its raylet: the exchange lives as long as Ray does on this node
            handle, options, account = exchanges.start(venue, log, os.getppid(), self._epoch_ns)
            keys.keep(spec.run_id, venue.name, account)
            self._exchanges[venue.name] = handle
        else:
            options = exchanges.external_options(venue)
        return replace(spec, options=options, instruments=exchanges.ask_instruments(venue, options))

    def _save(self) -> None:
        """What a restarted supervisor needs to find its desk."""
        write_json(
            self._file,
            {
                "members": {
                    k: {"name": m.name, "cls": m.cls, "spec": asdict(m.spec)} for k, m in self._members.items()
                },
                "exchanges": {name: asdict(h) for name, h in self._exchanges.items()},
                "running_since": self._running_since,
                "end": asdict(self._end) if self._end else None,
                "pid": os.getpid(),
            },
        )

    def _rejoin(self, known: dict[str, Any], *, living_only: bool = False) -> None:
        self.log.warning("restarted: going on with run %s", self.spec.run_id)
        if known.get("end"):  # it had been told to end
            self._finish(End(**known["end"]))
        self._exchanges = {name: ExchangeHandle(**h) for name, h in known["exchanges"].items()}
        self._running_since = known["running_since"]
        for key, m in known["members"].items():
            spec = DeskSpec(**m["spec"])
            handle = remote.find(m["name"])
            if handle is None and not living_only:
                handle = remote.spawn(m["name"], m["cls"], spec)
            self._members[key] = _Member(m["name"], m["cls"], spec, handle)

    # --- watching ----------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        metrics = MetricsLog(self.spec.path("metrics.jsonl"))
        allowed_s = _START_S + _START_EACH_S * (len(self.spec.cfg.live.venues) - 1)
        deadline = time.monotonic() + allowed_s
        while self._end is None:
            self._poll()
            running = all(m.status.get("phase") in ("running", "halted") for m in self._members.values())
            if self.phase == "starting" and running:
                self.phase = "running"
                if not self._running_since:
                    self._running_since = time.time()
                    self._save()
                self.log.info("the desk runs")
            elif self.phase == "starting" and time.monotonic() > deadline:
                waiting = [k for k, m in self._members.items() if m.status.get("phase") not in ("running", "halted")]
                raise RaymakerError(f"the desk did not come up in {allowed_s:g} s; waiting for {', '.join(waiting)}")
            self._judge()
            if self.phase == "running":
                metrics.add(self._snapshot())
            self._status = self._snapshot()
            write_json(self.spec.path("status.json"), self._status)
            left = self._time_left()
            if left is not None and left <= 0:
                self._finish(End("duration"))
            self._wake.wait(_POLL_S if left is None else max(0.0, min(_POLL_S, left)))
        metrics.close()

    def _time_left(self) -> float | None:
        if self.duration_s is None or not self._running_since:
            return None
        return self._running_since + self.duration_s - time.time()

    def _poll(self) -> None:
        calls = {key: (m.handle, "status", ()) for key, m in self._members.items()}
        for key, answer in remote.gather(calls, _ANSWER_S).items():
            member = self._members[key]
            if isinstance(answer, remote.Failed):
                self.log.warning("%s: %s", key, answer.error)
                member.status = member.status | {"phase": "lost", "error": answer.error}
                if answer.gone:
                    raise RaymakerError(f"{key} is gone: {answer.error}")
                continue
            before = member.status.get("pid")
            if before is not None and before != answer["pid"]:
                member.restarts += 1
                self.log.warning("%s was restarted (%d)", key, member.restarts)
            member.status = answer

    def _judge(self) -> None:
        """End the run for what cannot be repaired: a failed actor, a broken limit, a crash that repeats."""
        for key, m in self._members.items():
            failure = m.status.get("failure")
            if failure:
                self._finish(End("failed", error=f"{key}: {failure['error']}", exit_code=failure["exit_code"]))
            elif m.restarts > _MAX_RESTARTS:
                self._finish(End("failed", error=f"{key} was restarted {m.restarts} times", exit_code=1))
        reasons = self._halted()
        broken = [r for r in reasons.values() if r != "operator"]
        if broken:
            self._finish(End("halted", halted=broken[0], exit_code=3))
        for name, handle in self._exchanges.items():
            if handle.process() is None:
                self._finish(End("failed", error=f"the embedded exchange of {name} ended", exit_code=4))

    def _halted(self) -> dict[str, str]:
        """Venue -> why it is halted."""
        return {
            m.spec.venue_config.name: m.status["halted"]
            for key, m in self._members.items()
            if key.endswith("/executor") and m.status.get("halted")
        }

    def _snapshot(self) -> dict[str, Any]:
        venues: dict[str, dict[str, Any]] = {}
        for key, m in list(self._members.items()):
            venue, _, role = key.rpartition("/")
            if venue:
                venues.setdefault(venue, {})[role] = m.status | {"restarts": m.restarts}
        desk = self._members["risk"].status if "risk" in self._members else {}
        halted = self._halted()
        return {
            "run_id": self.spec.run_id,
            "desk": self.spec.desk,
            "state": "halted" if halted and self.phase == "running" else self.phase,
            "ts": time.time(),
            "elapsed_s": time.time() - self._running_since if self._running_since else 0.0,
            "duration_s": self.duration_s,
            "halted": next(iter(halted.values()), None),
            "venues": venues,
            "desk_risk": desk,
            "run_dir": self.spec.run_dir,
            "rss_mb": self._memory(),
            "pid": os.getpid(),
        }

    def _memory(self) -> dict[str, float]:
        out = {key.replace("/", "."): m.status["rss_mb"] for key, m in self._members.items() if "rss_mb" in m.status}
        out["supervisor"] = rss_mb()
        for name, handle in self._exchanges.items():
            process = handle.process()
            if process is not None:
                try:
                    out[f"{name}.exchange"] = round(process.memory_info().rss / 1e6, 1)
                except psutil.Error:
                    continue
        return out

    # --- the end -----------------------------------------------------------------------------------------------------
    def _shut_down(self) -> None:
        self.phase = "stopping"
        end = self._end or End("stopped")
        if self._members:
            with contextlib.suppress(OSError):
                self._save()  # should we be restarted, we go on ending
        last = self._snapshot()
        self.log.info("ending the run: %s", end.error or end.halted or end.why)
        ask = {key: (m.handle, "stop", ()) for key, m in self._members.items() if m.handle is not None}
        executors = {k: c for k, c in ask.items() if k.endswith("/executor")}
        stops = remote.gather(executors, 30.0)
        again = {
            k: executors[k] for k, answer in stops.items() if isinstance(answer, remote.Failed) and not answer.gone
        }
        if again:  # one that crashed comes back and trades: it must hear of the end
            stops |= remote.gather(again, 30.0)
        stops |= remote.gather({k: c for k, c in ask.items() if not k.endswith("/executor")}, 10.0)
        for key, answer in stops.items():
            if isinstance(answer, remote.Failed):
                self.log.error("%s did not stop: %s", key, answer.error)
        halted = end.halted or next(iter(self._halted().values()), None)
        elapsed = max(0.0, time.time() - self._running_since) if self._running_since else 0.0
        venues = [v.name for v in self.spec.cfg.live.venues]
        self._summary = finish_run(
            self.spec, venues, stops, last, self._exchanges, elapsed, replace(end, halted=halted)
        )
        self._clear_away()
        write_tables(self.spec, venues)

    def _clear_away(self) -> None:
        """Leave no process, no socket and no secret."""
        remote.end([member.handle for member in self._members.values() if member.handle is not None])
        for handle in self._exchanges.values():
            stop_exchange(handle)
        for member in self._members.values():
            for address in member.spec.inboxes.values():
                clear_stale(address)
        if self.spec.cfg.live.transport == "ipc":
            with contextlib.suppress(OSError):
                (scratch() / self.spec.prefix).rmdir()
        keys.forget(self.spec.run_id)
        self._file.unlink(missing_ok=True)


class _Addresses:
    """Inbox addresses: socket files in a private directory, or free ports on this node."""

    def __init__(self, transport: str, prefix: str) -> None:
        self._dir = socket_dir(scratch() / prefix) if transport == "ipc" else None
        self._host = "127.0.0.1"
        self._used: set[int] = set()

    def of(self, name: str) -> str:
        if self._dir is not None:
            return ipc_address(self._dir, name)
        import socket

        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                probe.bind((self._host, 0))
                port = int(probe.getsockname()[1])
            if port not in self._used:
                self._used.add(port)
                return f"tcp://{self._host}:{port}"
