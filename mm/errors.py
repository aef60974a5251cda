"""Error tree. Every error a user can cause derives from ``RaymakerError`` and carries the exit code of its kind."""

from __future__ import annotations


class RaymakerError(Exception):
    """Base: something failed (exit code 1)."""

    exit_code = 1


class ConfigError(RaymakerError):
    """A config file, option or environment variable is wrong (exit code 2). Says file, line, key, what was expected."""

    exit_code = 2


class DataError(RaymakerError):
    """A data file or store is missing, foreign or damaged (exit code 2)."""

    exit_code = 2


class RiskHalt(RaymakerError):
    """The desk is halted by risk (exit code 3)."""

    exit_code = 3


class VenueUnreachable(RaymakerError):
    """An exchange does not answer (exit code 4)."""

    exit_code = 4
