"""The check of a connection, step by step."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a connection check: what was tried, how it went, and what would repair it."""

    step: str
    ok: bool
    detail: str
    fix: str | None = None
