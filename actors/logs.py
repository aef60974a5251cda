"""Log files: one per UTC day, everything from DEBUG up, shared by all processes of a desk (one write per line)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FORMAT: Final = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
_QUIET: Final = (  # at DEBUG some write every request, headers included
    "aiohttp", "apexomni", "asyncio", "ccxt", "filelock", "httpcore", "httpx", "matplotlib", "numba", "paradex_py",
    "PIL", "ray", "urllib3", "web3", "websocket", "websockets",
)  # fmt: skip


_SHORTEST_SECRET: Final = 8  # shorter ones would mask half the log

_secrets: list[str] = []


def mask(secrets: Iterable[str]) -> None:
    """Replace these texts in every log record of this process from now on, whatever handler writes it."""
    new = {text for text in secrets if len(text) >= _SHORTEST_SECRET} - set(_secrets)
    if not new:
        return
    _secrets.extend(new)
    _secrets.sort(key=len, reverse=True)  # one may be part of another
    logging.setLogRecordFactory(_Masked)


class _Masked(logging.LogRecord):
    """A record whose message holds no secret; the traceback of an error is masked as well."""

    def getMessage(self) -> str:  # noqa: N802  logging's name
        if self.exc_info and not self.exc_text:
            self.exc_text = without_secrets(logging.Formatter().formatException(self.exc_info))
        return without_secrets(super().getMessage())


def without_secrets(text: str) -> str:
    """A text with every masked secret replaced."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


class DailyFile(logging.Handler):
    """Appends to ``DIR/raymaker-YYYYMMDD.log``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(logging.DEBUG)
        self._directory = directory
        self._day = ""
        self._fd = -1

    def emit(self, record: logging.LogRecord) -> None:
        try:
            day = time.strftime("%Y%m%d", time.gmtime(record.created))
            if day != self._day:
                self.close_file()
                self._directory.mkdir(parents=True, exist_ok=True)
                path = self._directory / f"raymaker-{day}.log"
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self._day = day
            os.write(self._fd, (self.format(record) + "\n").encode())
        except OSError:
            self.handleError(record)

    def close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._day = ""

    def close(self) -> None:
        self.close_file()
        super().close()


def log_to_files(directory: Path) -> None:
    """Send this process's records to the daily files; again with the same directory is harmless."""
    root = logging.getLogger()
    for handler in root.handlers:
        if isinstance(handler, DailyFile):
            return
    handler = DailyFile(directory)
    formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
