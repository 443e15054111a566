"""Packages that an installation may leave out."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def optional(name: str) -> Any:
    """The module, None where its package is not installed."""
    return import_module(name) if find_spec(name.partition(".")[0]) else None
