"""Every call to Ray that the desk makes. Nothing else in ``actors`` imports Ray, so tests run with ``ray`` broken.

An actor class is a plain class; here it becomes a named, detached, self-restarting Ray actor. Its constructor
arguments are all it needs to begin again: Ray re-runs the constructor after a crash.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from mm.errors import RaymakerError

NAMESPACE: Final = "raymaker"
PREFIX: Final = "raymaker/"
_CPU: Final = 0.01  # a desk's actors share the machine; Ray only counts

log = logging.getLogger(__name__)


class Host:
    """The class that Ray sees: one of ours inside, reached by ``call``.

    Ray wraps every method of an actor class (tracing) and turns a class with a coroutine method into an asyncio actor;
    neither may happen to a hot loop.
    """

    def __init__(self, cls: str, *args: Any) -> None:
        module, _, attribute = cls.partition(":")
        self._inner = getattr(import_module(module), attribute)(*args)

    def call(self, method: str, *args: Any) -> Any:
        return getattr(self._inner, method)(*args)


@dataclass(frozen=True, slots=True)
class Failed:
    """What a call brought instead of a result."""

    error: str
    gone: bool  # the actor is dead for good or was never there


def connect(address: str) -> None:
    """Join a running Ray as a driver; again is harmless. Raises ``RaymakerError``."""
    import ray

    if ray.is_initialized():
        return
    if address.startswith("127."):
        # read from the environment when Ray is imported; it may have been imported before we knew
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # noqa: SLF001
    try:
        ray.init(
            address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=True,
            logging_level=logging.WARNING,
        )  # fmt: skip
    except (ConnectionError, RuntimeError, ValueError) as exc:
        raise RaymakerError(f"cannot join the Ray at {address}: {exc}") from exc
    # Ray prints the death of a worker on stdout, where one line of JSON is expected, whatever `log_to_driver` says
    ray._private.worker.print_to_stdstream = _note  # noqa: SLF001


def _note(data: Mapping[str, Any], ignore_prefix: bool = False) -> None:  # noqa: ARG001  Ray calls it so
    log.warning("ray: %s", " ".join(data["lines"])[:300])


def current_address() -> str | None:
    """The Ray that this process has joined already, if any. Does not import Ray."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    return str(ray.get_runtime_context().gcs_address)


def disconnect() -> None:
    """Leave; detached actors stay."""
    import ray

    if ray.is_initialized():
        ray.shutdown()


def spawn(name: str, cls: str, *args: Any, concurrency: int = 4, env: dict[str, str] | None = None) -> Any:
    """Start a detached actor; returns its handle at once, before its constructor has run.

    ``cls`` is ``module:Class``. It runs on this node: the desk's sockets and exchanges are here. It restarts without
    limit, and no call is ever repeated by Ray: an order must not be sent twice. ``env`` is set in its process, and
    in those of the actors that it spawns without one.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options: dict[str, Any] = {
        "name": name, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": _CPU, "max_restarts": -1,
        "max_task_retries": 0, "max_concurrency": concurrency, "scheduling_strategy": here,
    }  # fmt: skip
    if env is not None:
        options["runtime_env"] = {"env_vars": env}
    decorate: Any = ray.remote(**options)
    return decorate(Host).remote(cls, *args)


def find(name: str) -> Any | None:
    """The handle of a named actor, None when there is none."""
    import ray

    try:
        return ray.get_actor(name, NAMESPACE)
    except ValueError:
        return None


def names(prefix: str = PREFIX) -> list[str]:
    """Names of the desk's living actors."""
    from ray.util import list_named_actors

    found = list_named_actors(all_namespaces=True)
    return sorted(a["name"] for a in found if a["namespace"] == NAMESPACE and a["name"].startswith(prefix))


def ask(handle: Any, method: str, *args: Any, timeout_s: float) -> Any:
    """One call and its result, or ``Failed``."""
    return gather({"": (handle, method, args)}, timeout_s)[""]


def gather(calls: dict[str, tuple[Any, str, tuple[Any, ...]]], timeout_s: float) -> dict[str, Any]:
    """Calls at once: key -> (handle, method, arguments); key -> result or ``Failed``. Never raises for an actor."""
    import ray

    refs = {key: handle.call.remote(method, *args) for key, (handle, method, args) in calls.items()}
    ray.wait(list(refs.values()), num_returns=len(refs), timeout=timeout_s)
    out: dict[str, Any] = {}
    for key, ref in refs.items():
        try:
            out[key] = ray.get(ref, timeout=0)
        except ray.exceptions.GetTimeoutError:
            out[key] = Failed(f"no answer in {timeout_s:g} s", gone=False)
        except ray.exceptions.ActorUnavailableError as exc:
            out[key] = Failed(f"restarting: {exc}", gone=False)
        except ray.exceptions.ActorDiedError as exc:
            out[key] = Failed(str(exc).strip().splitlines()[0], gone=True)
        except ray.exceptions.RayTaskError as exc:
            out[key] = Failed(f"{type(exc.cause).__name__}: {exc.cause}", gone=False)
        except ray.exceptions.RayError as exc:
            out[key] = Failed(f"{type(exc).__name__}: {exc}", gone=False)
    return out


def end(handles: list[Any], timeout_s: float = 3.0) -> None:
    """End actors for good: asked to leave first, so that their processes exit in order, killed if they do not."""
    import ray

    refs = [handle.__ray_terminate__.remote() for handle in handles]
    if refs:
        ray.wait(refs, num_returns=len(refs), timeout=timeout_s)
    for handle in handles:
        ray.kill(handle, no_restart=True)
