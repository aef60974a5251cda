"""What every hot actor is: a thread with its own event loop, which Ray methods only look at and steer.

The constructor starts the loop and returns; everything needed stands in its ``DeskSpec``, so a restart by Ray (which
runs the constructor again) brings the actor back, with state from the journal, the venue and its neighbours. An error
that configuration can cause stays (``failed`` in the status, the supervisor ends the run); any other error ends the
process, and Ray starts a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

from actors.logs import log_to_files
from mm.config.schema import RunConfig, VenueConfig
from mm.core.instrument import Instrument
from mm.errors import RaymakerError
from mm.venues.quote_rate import quote_rate
from mm.venues.specs import find_spec

_PAGE_MB: Final = os.sysconf("SC_PAGE_SIZE") / 1e6
_CRASH: Final = 70  # exit code of an actor that ends itself


@dataclass(frozen=True)
class DeskSpec:
    """Plain data that an actor begins with (and begins again with)."""

    run_id: str
    desk: str
    run_dir: str
    log_dir: str
    home: str
    config: dict[str, Any]  # RunConfig as plain data
    cli_pid: int = 0  # of the command line that started it; when it is gone, the desk cleans up behind itself
    venue: int = 0  # index into live.venues; -1: the whole desk
    prefix: str = ""  # of client order ids
    options: dict[str, Any] = field(default_factory=dict)  # the venue's address; its keys never (actors.keys)
    instruments: list[dict[str, str]] = field(default_factory=list)
    inboxes: dict[str, str] = field(default_factory=dict)  # role -> address; "risk" of the desk is "desk_risk"
    executors: list[str] = field(default_factory=list)  # inboxes of all executors of the desk, by venue
    curve: dict[str, str] | None = None

    @cached_property
    def cfg(self) -> RunConfig:
        """The run as this actor sees it; a quoter without a rate limit has the venue's."""
        cfg = RunConfig.model_validate(self.config)
        if self.venue < 0:
            return cfg
        cfg = cfg.of_venue(self.venue)
        kind = cfg.live.venues[self.venue].kind
        if kind == "native" or cfg.risk.rate_limit is not None:
            return cfg
        spec = find_spec(kind)
        if spec is None:
            return cfg
        risk = cfg.risk.model_copy(update={"rate_limit": quote_rate(spec)})
        return cfg.model_copy(update={"risk": risk})

    @property
    def venue_config(self) -> VenueConfig:
        return self.cfg.live.venues[self.venue]

    @cached_property
    def parsed_instruments(self) -> list[Instrument]:
        return [Instrument.from_dict(i) for i in self.instruments]

    def path(self, *parts: str) -> Path:
        return Path(self.run_dir, *parts)


def rss_mb() -> float:
    """Resident memory of this process, MB."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  read four times a second
        return round(int(file.read().split()[1]) * _PAGE_MB, 1)


class LoopActor:
    """Subclasses implement ``main`` (runs in the loop until ``self.stopping``) and ``report``."""

    role: ClassVar[str] = ""

    def __init__(self, spec: DeskSpec) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("NUMBA_NUM_THREADS", "1")
        os.environ["RAYMAKER_HOME"] = spec.home
        log_to_files(Path(spec.log_dir))
        self.spec = spec
        self.log = logging.getLogger(f"{spec.desk}.{self.label()}")
        self.phase = "starting"
        self.failure: dict[str, Any] | None = None
        self.stopping = False
        self.started_ns = time.time_ns()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"{self.role}-loop", daemon=True)
        self._thread.start()

    def label(self) -> str:
        """Short name in logs and memory tables."""
        return f"{self.spec.venue_config.name}.{self.role}"

    # --- called by Ray -----------------------------------------------------------------------------------------------
    def status(self) -> dict[str, Any]:
        """A snapshot; cheap, from any thread."""
        out = {
            "phase": "failed" if self.failure else self.phase,
            "pid": os.getpid(),
            "rss_mb": rss_mb(),
            "started_ns": self.started_ns,
        }
        if self.failure:
            out["failure"] = self.failure
        return out | self.report()

    def stop(self) -> dict[str, Any]:
        """End the loop, flush, and report; again is harmless."""
        self.stopping = True
        self.wake()
        self._thread.join(timeout=20.0)
        return self.status()

    # --- for subclasses ----------------------------------------------------------------------------------------------
    async def main(self) -> None:
        raise NotImplementedError

    def report(self) -> dict[str, Any]:
        return {}

    def wake(self) -> None:
        """Make the loop notice ``stopping`` soon (called from another thread)."""

    def in_loop(self, work: Coroutine[Any, Any, Any], timeout_s: float) -> Any:
        """Run a coroutine in the loop from a Ray method."""
        loop = self.loop
        if loop is None or not self._thread.is_alive():
            work.close()
            raise RaymakerError(f"{self.label()} is not running")
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)

    def _run(self) -> None:
        import uvloop

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                self.loop = runner.get_loop()
                runner.run(self.main())
            self.phase = "stopped"
        except RaymakerError as exc:
            self.failure = {"error": str(exc), "kind": type(exc).__name__, "exit_code": exc.exit_code}
            self.log.error("%s", exc)  # noqa: TRY400  the message is for people
        except BaseException:
            self.log.critical("ends itself and will be restarted", exc_info=True)
            logging.shutdown()
            os._exit(_CRASH)
