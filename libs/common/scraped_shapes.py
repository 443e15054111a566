"""What a reader of `bi_query.scraped` accepts, as pydantic models: the source of the schemas in docs/events.

Each has its struct of the same name in `scraped.py`, tested to mean the same.
"""

import re
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import ValidationError, convert
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, PositiveInt

from libs.common.events import Event
from libs.common.scraped import MAX_COUNT, ResourceType
from libs.common.settings import Environment

SafeCount = Annotated[int, Field(ge=1, le=MAX_COUNT)]
_FINE = re.compile(r"\.\d{7}")


def _rounded(written: object) -> object:
    """pydantic cuts off what is finer than microseconds, msgspec rounds it: round here too."""
    if isinstance(written, str) and _FINE.search(written):
        with suppress(ValidationError):
            return convert(written, datetime)
    return written


Moment = Annotated[AwareDatetime, BeforeValidator(_rounded)]


class ConnectorRef(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    type: str
    name: str


class TableRef(BaseModel):
    """A table as its completed, folded name parts (1 to 3: catalog, schema, table) and its quoted display."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
    display: str


class ColumnUse(BaseModel):
    """A column of one of the record's tables, the table by its name parts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    table: Annotated[tuple[str, ...], Field(min_length=1, max_length=3)]
    column: str


class BiQueryScraped(Event):
    """A query or chart reference seen by a collector. Its job, sync and job sequence place it in a ledger."""

    kind: Literal["bi_query"] = "bi_query"
    id: UUID
    environment: Environment = "production"
    connector: ConnectorRef
    dialect: str
    job_id: UUID | None = None
    sync_seq: NonNegativeInt | None = None
    job_seq: PositiveInt | None = None
    resource_type: ResourceType
    resource_id: Annotated[str, Field(min_length=1, max_length=1024)]
    title: str | None = None
    sql_text: str | None = None
    sql_truncated: bool = False
    executed_by: str | None = None
    executed_at: Moment | None = None
    execution_count: SafeCount = 1
    dashboard_id: str | None = None
    dashboard_title: str | None = None
    dashboard_url: str | None = None
    tables: tuple[TableRef, ...] = ()
    columns: tuple[ColumnUse, ...] = ()


class SyncCompleted(Event):
    """The closing record of a job: `count` records were sent under (`job_id`, `sync_seq`)."""

    kind: Literal["sync_completed"] = "sync_completed"
    environment: Environment = "production"
    connector: ConnectorRef
    job_id: UUID
    sync_seq: NonNegativeInt
    count: NonNegativeInt
    complete: bool
