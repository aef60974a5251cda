"""The one place that imports apexomni.

The library was written for an older sympy, which kept ``igcdex`` in another module. The name is put where the library
looks for it, before its first import; nothing of the library is changed.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any


def load(name: str) -> Any:
    """A module of the library, e.g. ``apexomni.http_private_sign``; takes a second the first time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside web3, a file that starkex does not close
        numbers = import_module("sympy.core.numbers")
        if not hasattr(numbers, "igcdex"):
            numbers.igcdex = import_module("sympy.core.intfunc").igcdex  # type: ignore[attr-defined]
        return import_module(name)


def load_sdk() -> Any:
    """The library's zk SDK."""
    return load("apexomni").zklink_sdk
