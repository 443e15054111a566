"""Bodies that the answers of collecting services share."""

from collections.abc import Iterable
from typing import Protocol, Self

from pydantic import BaseModel


class JobError(BaseModel):
    """Why a job failed; `code` is stable."""

    code: str
    message: str


class CheckedStep(Protocol):
    """One step of a connection check, as a warehouse or a tool tells it."""

    @property
    def step(self) -> str: ...
    @property
    def ok(self) -> bool: ...
    @property
    def detail(self) -> str: ...
    @property
    def fix(self) -> str | None: ...


class StepOut(BaseModel):
    step: str
    ok: bool
    detail: str
    fix: str | None


class ConnectorCheck(BaseModel):
    """`ok` when each step is; a failed step says what repairs it."""

    ok: bool
    steps: list[StepOut]

    @classmethod
    def of(cls, steps: Iterable[CheckedStep]) -> Self:
        shown = [StepOut(step=step.step, ok=step.ok, detail=step.detail, fix=step.fix) for step in steps]
        return cls(ok=all(step.ok for step in shown), steps=shown)
