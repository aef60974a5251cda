"""Credentials of a run's accounts: from the environment or ``.env``, by a private file, to the executor alone.

Ray shows the arguments of actors in its dashboard and its logs, so keys never travel through it. Whoever starts a run
writes one file per account below ``$RAYMAKER_HOME/keys`` (folder 0700, file 0600), the executor reads it at every
start, and the end of the run removes it. What was read is masked in every log record of the process that read it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from actors.home import home, make_writable, read_json, write_json
from actors.logs import mask
from mm.errors import ConfigError

_ENV_FILE: Final = Path(".env")


def variable(venue: str, key: str) -> str:
    """The environment variable of one credential: ``RAYMAKER_<VENUE>_<KEY>``."""
    return f"RAYMAKER_{venue}_{key}".upper().replace("-", "_")


def environment(path: Path = _ENV_FILE) -> dict[str, str]:
    """The process's environment over the ``.env`` file of the working directory; raises ``ConfigError``."""
    return read_env_file(path) | dict(os.environ)


def read_env_file(path: Path) -> dict[str, str]:
    """``KEY=value`` lines; ``#`` begins a comment, quotes around a value are taken off."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read ({exc})") from exc
    out: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removeprefix("export ")
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ConfigError(f"{path}:{number}: expected NAME=value")  # the line itself may hold a key
        value = value.strip()
        out[name.strip()] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
    return out


def collect(venue: str, needed: Iterable[str], optional: Iterable[str] = ()) -> dict[str, str]:
    """The credentials of a venue's account; raises ``ConfigError`` that names what is missing, never a value."""
    given = environment()
    needed = list(needed)
    missing = [variable(venue, key) for key in needed if not given.get(variable(venue, key))]
    if missing:
        raise ConfigError(f"venue {venue}: set {', '.join(missing)} in the environment or in .env")
    names = [*needed, *(key for key in optional if given.get(variable(venue, key)))]
    return {key: given[variable(venue, key)] for key in names}


def keep(run_id: str, venue: str, keys: Mapping[str, str]) -> None:
    """Write an account's credentials for its executor."""
    make_writable(_folder())
    write_json(_file(run_id, venue), dict(keys))


def read(run_id: str, venue: str) -> dict[str, str]:
    """An account's credentials, from now on masked in this process's logs."""
    keys = {name: str(value) for name, value in (read_json(_file(run_id, venue)) or {}).items()}
    mask(keys.values())
    return keys


def forget(run_id: str) -> None:
    """Remove the credentials of a run."""
    for path in _folder().glob(f"{run_id}.*.json"):
        path.unlink(missing_ok=True)


def _folder() -> Path:
    return home() / "keys"


def _file(run_id: str, venue: str) -> Path:
    return _folder() / f"{run_id}.{venue}.json"
