"""The desk from the outside: start it, watch it, stop it, halt it, from any process of the same user."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from actors import exchanges, keys, ray_head, remote
from actors.base import DeskSpec, rss_mb
from actors.home import Latch, clear_latch, home, latches, make_writable, read_json, read_latch, write_json
from actors.logs import log_to_files
from actors.run_dir import new_run_id
from mm.config.load import load_config
from mm.config.schema import CrossReference, RunConfig
from mm.core.units import parse_seconds
from mm.errors import ConfigError, RaymakerError, RiskHalt

OnStatus = Callable[[dict[str, Any]], None]

_SUPERVISOR: Final = "actors.supervisor:Supervisor"
_ROLE: Final = "/supervisor"
_ROOT: Final = Path(__file__).resolve().parents[1]
_POLL_S: Final = 0.5
_STOP_S: Final = 60.0
_FORGET_S: Final = 5.0
_LOST_S: Final = 30.0  # the supervisor does not answer for so long: it is gone

log = logging.getLogger(__name__)


def live(
    config: RunConfig, config_path: str | Path | None = None, duration_s: float | None = None,
    on_status: OnStatus | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Run a desk until its duration is over, it is stopped, or it halts; returns the run's summary.

    Ctrl-C and SIGTERM stop it gracefully: everything is cancelled and the summary is written. When this process is
    killed the desk goes on (``status`` and ``stop`` find it).

    Raises:
        RiskHalt: a latch of an earlier run still holds.
        RaymakerError: the desk could not start (``VenueUnreachable``, ``ConfigError`` included).
    """
    if isinstance(config.strategy.reference, CrossReference):
        raise ConfigError("strategy.reference: cross is simulated only so far; a live quoter sees its own venue")
    desk = Desk(config)
    desk.source = str(config_path or "")
    return desk.run(duration_s, on_status)


def status() -> dict[str, Any]:
    """``{"runs": [...]}``: every run of this user that Ray knows, with state and venues."""
    with _joined() as connection:
        if connection is None:
            return {"runs": [], "latches": [_latch_row(x) for x in latches()]}
        runs = [_state_of(name) for name in _supervisors()]
    return {"runs": runs, "latches": [_latch_row(x) for x in latches()]}


def stop(run_id: str | None = None) -> dict[str, Any]:
    """Stop one run or all: cancel everything, write the summaries; then end the Ray that ``live`` started, if idle."""
    stopped: list[dict[str, Any]] = []
    with _joined() as connection:
        if connection is None:
            return {"runs": []}
        found = _choose(run_id)
        for _, handle, _ in found:
            remote.ask(handle, "stop", timeout_s=10.0)
        for name, handle, state in found:
            summary = _await_end(handle, state, _STOP_S)
            stopped.append(summary)
            _remove(name, handle)
        if run_id is None:
            for desk in {n.split("/")[1] for n in remote.names()}:
                _sweep(desk)
        end_ray_if_idle(connection)
    return {"runs": stopped}


def halt(run_id: str | None = None, reason: str = "operator") -> dict[str, Any]:
    """Latch and cancel everything of one run or all, now; the desk stays and can be rearmed."""
    with _joined() as connection:
        if connection is None:
            raise RaymakerError("no desk runs")
        out = {}
        for _, handle, state in _choose(run_id):
            out[state["run_id"]] = remote.ask(handle, "halt", reason, timeout_s=25.0)
    return _checked_halt(out)


def rearm(run_id: str | None = None, *, force: bool = False) -> dict[str, Any]:
    """Lift halts of running desks and latches of earlier runs. A daily loss stays until 00:00 UTC unless forced."""
    out: dict[str, Any] = {}
    with _joined() as connection:
        if connection is not None:
            for _, handle, state in _choose(run_id, none_is_fine=True):
                out[state["run_id"]] = remote.ask(handle, "rearm", force, timeout_s=15.0)
    held = [latch for latch in latches() if run_id in (None, latch.run_id)]
    left = [_latch_row(latch) for latch in held if not clear_latch(latch, force=force)]
    return _checked(out) | {"still_latched": left}


class Desk:
    """One desk as a Python object: ``Desk("configs/live.yaml").run(duration="60s")``."""

    def __init__(self, config: str | Path | RunConfig, overrides: list[str] | None = None) -> None:
        self.config = config if isinstance(config, RunConfig) else load_config(config, overrides)
        self.source = "" if isinstance(config, RunConfig) else str(config)  # where the config came from
        self.run_id = ""
        self.run_dir = Path()
        self._guest = False  # this process had joined Ray before; it stays joined
        self._handle: Any = None
        self._connection: ray_head.RayConnection | None = None

    def run(self, duration: str | float | None = None, on_status: OnStatus | None = None) -> dict[str, Any]:
        """Start, wait for the end, return the summary."""
        with _stop_on_signals() as asked:  # from the first moment: what is half started is ended properly too
            self.start(parse_seconds(duration) if isinstance(duration, str) else duration)
            return self.follow(on_status, asked)

    def start(self, duration_s: float | None = None) -> str:
        """Start the desk and return its run id; it trades from now on without this process."""
        cfg = self.config
        for venue in cfg.live.venues:
            latch = read_latch(cfg.name, venue.name)
            if latch is not None:
                raise RiskHalt(_latched_text(latch))
        for venue in cfg.live.venues:
            exchanges.check(venue)
        accounts = {venue.name: exchanges.account_keys(venue) for venue in cfg.live.venues if not venue.embedded}
        self.run_id = new_run_id(cfg.name)
        self.run_dir = Path("runs", self.run_id).absolute()
        log_dir = Path("logs").absolute()
        for path in (self.run_dir, log_dir, home() / "latches"):
            make_writable(path)
        log_to_files(log_dir)
        joined = remote.current_address()  # a notebook that uses Ray already: the desk runs there
        self._connection = ray_head.ensure_ray() if joined is None else ray_head.RayConnection(joined, started=False)
        self._guest = joined is not None
        if self._connection.started:
            log.info("started a Ray head at %s", self._connection.address)
        try:
            remote.connect(self._connection.address)
            name = f"{remote.PREFIX}{cfg.name}{_ROLE}"
            _make_room(name)
            spec = DeskSpec(
                run_id=self.run_id, desk=cfg.name, run_dir=str(self.run_dir), log_dir=str(log_dir), home=str(home()),
                config=_portable(cfg), prefix=os.urandom(4).hex(), cli_pid=os.getpid(), venue=-1,
            )  # fmt: skip
            for name_of_venue, credentials in accounts.items():
                keys.keep(self.run_id, name_of_venue, credentials)
            write_json(self.run_dir / "config.json", {"source": self.source, "config": spec.config})
            seconds = cfg.live.duration if duration_s is None else duration_s
            self._handle = remote.spawn(name, _SUPERVISOR, spec, seconds, concurrency=8, env=self._environment())
        except BaseException:
            keys.forget(self.run_id)
            self._leave()
            raise
        return self.run_id

    def _environment(self) -> dict[str, str] | None:
        """What the actors need from a Ray that somebody else started; ours has it (and starts actors faster)."""
        if self._connection is not None and self._connection.head is not None:
            return None
        path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

    def follow(self, on_status: OnStatus | None = None, asked: threading.Event | None = None) -> dict[str, Any]:
        """Watch until the run ends; returns the summary. Ctrl-C and SIGTERM (or ``asked``) end it gracefully."""
        with _stop_on_signals(asked) as stop:  # again: joining Ray takes SIGTERM away
            silent_since = time.monotonic()
            stopping = False
            summary = None
            while summary is None:
                if stop.is_set() and not stopping:
                    stopping = True
                    log.info("stopping: cancelling everything")
                    remote.ask(self._handle, "stop", "interrupted", timeout_s=10.0)
                state = remote.ask(self._handle, "status", timeout_s=5.0)
                if isinstance(state, remote.Failed):
                    if time.monotonic() - silent_since > _LOST_S or state.gone:
                        break
                else:
                    silent_since = time.monotonic()
                    if on_status is not None:
                        on_status(state)
                answer = remote.ask(self._handle, "wait", _POLL_S, timeout_s=_POLL_S + 5.0)
                if isinstance(answer, remote.Failed):
                    time.sleep(_POLL_S)
                    continue
                summary = answer
            return self._conclude(summary)

    def status(self) -> dict[str, Any]:
        """What the supervisor sees."""
        answer = remote.ask(self._handle, "status", timeout_s=5.0)
        if isinstance(answer, remote.Failed):
            raise RaymakerError(f"the supervisor does not answer: {answer.error}")
        return dict(answer)

    def stop(self) -> dict[str, Any]:
        """Cancel everything, end the run, return the summary."""
        remote.ask(self._handle, "stop", timeout_s=10.0)
        return self._conclude(_await_end(self._handle, {"run_dir": str(self.run_dir)}, _STOP_S))

    def halt(self, reason: str = "operator") -> dict[str, Any]:
        """Latch and cancel everything; the desk stays."""
        return _checked_halt({self.run_id: remote.ask(self._handle, "halt", reason, timeout_s=25.0)})

    def rearm(self, *, force: bool = False) -> dict[str, Any]:
        """Lift the halt."""
        return _checked({self.run_id: remote.ask(self._handle, "rearm", force, timeout_s=15.0)})

    def _conclude(self, summary: dict[str, Any] | None) -> dict[str, Any]:
        if summary is None:
            summary = read_json(self.run_dir / "summary.json")
        _remove(f"{remote.PREFIX}{self.config.name}{_ROLE}", self._handle)
        own = {"cli": rss_mb()}
        if self._connection is not None and self._connection.head is not None:
            own |= {f"ray.{k}": v for k, v in ray_head.memory_mb(self._connection.head).items() if ":" not in k}
        self._leave()
        if summary is None:
            raise RaymakerError(f"the supervisor of run {self.run_id} is gone; see logs/ and {self.run_dir}")
        if summary.get("error") and summary.get("exit_code", 1) != 3:
            error = RaymakerError(str(summary["error"]))
            error.exit_code = int(summary.get("exit_code") or 1)
            raise error
        summary["rss_mb"] = summary.get("rss_mb", {}) | own
        return summary

    def _leave(self) -> None:
        if self._connection is not None and not self._guest:
            end_ray_if_idle(self._connection)


def end_ray_if_idle(connection: ray_head.RayConnection) -> bool:
    """Leave Ray; end its head when raymaker started it and no desk is left on it."""
    deadline = time.monotonic() + _FORGET_S
    idle = False
    while connection.head is not None and not idle:
        left = remote.names()
        idle = not left
        if any(n.endswith(_ROLE) for n in left) or time.monotonic() > deadline:
            break
        time.sleep(0.1)  # actors that were just ended are still listed for a moment
    remote.disconnect()
    if connection.head is None or not idle:
        return False
    ray_head.stop_head(connection.head)
    return True


def _make_room(name: str) -> None:
    """One desk of a name at a time; actors that a crash left behind are ended first."""
    desk = name.split("/")[1]
    handle = remote.find(name)
    if handle is not None:
        state = remote.ask(handle, "status", timeout_s=5.0)
        if isinstance(state, remote.Failed) or state["state"] != "ended":
            raise RaymakerError(f"a desk named {desk!r} runs already: stop it, or give this one another name")
        _remove(name, handle)  # its run is over, but whoever started it never looked
    _sweep(desk)


# --- helpers ---------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _joined() -> Iterator[ray_head.RayConnection | None]:
    """Join the Ray that runs; None when there is none."""
    connection = ray_head.find_ray()
    if connection is None:
        yield None
        return
    ray_head.prepare_environment(connection)
    remote.connect(connection.address)
    try:
        yield connection
    finally:
        remote.disconnect()


def _supervisors() -> list[str]:
    return [n for n in remote.names() if n.endswith(_ROLE)]


def _state_of(name: str) -> dict[str, Any]:
    handle = remote.find(name)
    answer = remote.Failed("gone", gone=True) if handle is None else remote.ask(handle, "status", timeout_s=5.0)
    if isinstance(answer, remote.Failed):
        return {"run_id": "", "desk": name.split("/")[1], "state": "lost", "venues": {}, "error": answer.error}
    return dict(answer)


def _choose(run_id: str | None, *, none_is_fine: bool = False) -> list[tuple[str, Any, dict[str, Any]]]:
    """(name, handle, state) of the runs meant."""
    found = [(name, remote.find(name), _state_of(name)) for name in _supervisors()]
    chosen = [f for f in found if f[1] is not None and run_id in (None, f[2]["run_id"], f[2].get("desk"))]
    if run_id is not None and not chosen and not none_is_fine:
        known = ", ".join(f[2]["run_id"] for f in found) or "none"
        raise RaymakerError(f"no run {run_id!r}; running: {known}")
    return chosen


def _await_end(handle: Any, state: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = remote.ask(handle, "wait", 2.0, timeout_s=6.0)
        if isinstance(answer, dict):
            return answer
        if isinstance(answer, remote.Failed):
            if answer.gone:
                break
            time.sleep(0.2)
    summary = read_json(Path(state["run_dir"], "summary.json")) if state.get("run_dir") else None
    if summary is None:
        raise RaymakerError(f"the run did not end in {timeout_s:g} s; see logs/")
    return summary


def _portable(config: RunConfig) -> dict[str, Any]:
    """The config for processes that work in another folder."""
    raw = config.model_dump(mode="json")
    for venue in raw["live"]["venues"]:
        if venue["exchange"]["flow"] != "synth":
            venue["exchange"]["flow"] = str(Path(venue["exchange"]["flow"]).absolute())
    return raw


def _sweep(desk: str) -> None:
    """End actors whose supervisor is gone; executors cancel everything first."""
    for name in remote.names(f"{remote.PREFIX}{desk}/"):
        handle = remote.find(name)
        if handle is not None:
            log.warning("ending %s, which nobody supervises", name)
            if name.endswith("/executor"):
                remote.ask(handle, "stop", timeout_s=20.0)
            _remove(name, handle)


def _remove(name: str, handle: Any) -> None:
    """End the supervisor, and wait until Ray has forgotten its name."""
    if handle is None:
        return
    remote.end([handle])
    for _ in range(50):
        if remote.find(name) is None:
            return
        time.sleep(0.05)


def _checked(answers: dict[str, Any]) -> dict[str, Any]:
    for run, answer in answers.items():
        if isinstance(answer, remote.Failed):
            raise RaymakerError(f"run {run}: {answer.error}")
        for venue, said in answer.items():
            if isinstance(said, str):
                raise RaymakerError(f"run {run}: {venue}: {said}")
    return {"runs": answers}


def _checked_halt(answers: dict[str, Any]) -> dict[str, Any]:
    """A halt that leaves orders open has failed, though the latch holds."""
    out = _checked(answers)
    for run, answer in answers.items():
        for venue, left in answer.items():
            if left:
                raise RaymakerError(f"run {run}: {venue} is latched, but {left} orders are still open there")
    return out


def _latch_row(latch: Latch) -> dict[str, Any]:
    return {
        "desk": latch.desk,
        "venue": latch.venue,
        "reason": latch.reason,
        "ts_ns": latch.ts_ns,
        "run_id": latch.run_id,
    }


def _latched_text(latch: Latch) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(latch.ts_ns / 1e9))
    clears = "it clears at 00:00 UTC" if latch.reason == "daily_loss" else "lift it with `rearm`"
    return f"{latch.desk}/{latch.venue} is halted since {when} ({latch.reason}, run {latch.run_id}); {clears}"


@contextlib.contextmanager
def _stop_on_signals(asked: threading.Event | None = None) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event (main thread only); the second one interrupts at once."""
    asked = asked or threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(_number: int, _frame: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
