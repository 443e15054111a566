"""What a BI tool offers to the scraper: batches of items with the place to go on from, and a check in steps."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from libs.common.collecting.check import Step as Step
from libs.common.collecting.places import Cursor as Cursor
from libs.common.collecting.places import Position as Position
from libs.common.errors import BadGateway
from libs.common.events import ResourceType
from libs.common.sql import DefaultNames, Dialect


class ToolError(BadGateway):
    """The BI tool did not do what scraping needs. `cause` is stable, the message names the fix and holds no secret.

    `passing`: it may be gone at the next attempt.
    """

    code = "tool_failed"

    def __init__(self, cause: str, detail: str, *, passing: bool = False) -> None:
        super().__init__(detail, cause=cause)
        self.cause = cause
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Dashboard:
    """Where a chart is shown."""

    id: str
    title: str | None
    url: str


@dataclass(frozen=True, slots=True)
class Item:
    """One query or chart as the tool has it. Its SQL may hold literals and templates: it never leaves the process.

    `also` are other forms of the statement (another branch of a template) whose tables count too. `tables` are names
    that the tool itself lists, 1 to 3 parts, for items without SQL or SQL that names none. `shown` is false for SQL
    that only stands for names, because the tool gave none.
    """

    resource_type: ResourceType
    resource_id: str
    dialect: Dialect
    defaults: DefaultNames
    title: str | None = field(default=None, repr=False)
    sql: str | None = field(default=None, repr=False)
    also: tuple[str, ...] = field(default=(), repr=False)
    shown: bool = True
    tables: tuple[tuple[str, ...], ...] = ()
    executed_by: str | None = None
    executed_at: datetime | None = None
    dashboard: Dashboard | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read gave. `cursor` holds the parts that moved; `progress` is from 0 to 1 over the whole scrape.

    `complete` is false from the batch on in which references were missed: such a scrape must retire nothing.
    """

    items: tuple[Item, ...]
    phase: str
    progress: float
    cursor: Mapping[str, Position | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    complete: bool = True


class OpenTool(Protocol):
    """A tool that one is logged in to."""

    def batches(self, cursor: Cursor, since: datetime, now: datetime) -> AsyncIterator[Batch]:
        """All references, and the executions after `cursor` up to `now`, never any before `since`.

        A reference that cannot be read in full is told with what is known of it and a warning. Raises ToolError.
        """
        ...


class BiTool(Protocol):
    """A kind of BI tool, bound to one connector's settings."""

    def open(self) -> AbstractAsyncContextManager[OpenTool]:
        """Connect and log in. Raises ToolError."""
        ...

    def check(self) -> AsyncIterator[Step]:
        """Try what scraping needs, in order; ends after a failure that makes further steps senseless."""
        ...
