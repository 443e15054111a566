"""The hot records, those of `bi_query.scraped`: msgspec structs, because there may be millions of them a day.

They are made, copied and written like the other events. What a reader accepts, and the schema, is told by the pydantic
models of the same names in `scraped_shapes.py`; `scraped_reading.py` reads. A struct does not check what it is made of.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from uuid import UUID

from msgspec import Meta, Struct, structs
from msgspec.json import Encoder

from libs.common.settings import Environment

ResourceType = Literal["saved_query", "chart", "dashboard_chart", "query_log"]
MAX_COUNT: Final = 2**53

_NameParts = Annotated[tuple[str, ...], Meta(min_length=1, max_length=3)]
_NotNegative = Annotated[int, Meta(ge=0)]
_Positive = Annotated[int, Meta(gt=0)]
_encoder: Final = Encoder()


class _Part(Struct, frozen=True, kw_only=True, gc=False):
    """gc=False: it holds no cycle, and hundreds of thousands of them need no collector's look."""


class ConnectorRef(_Part, frozen=True, kw_only=True, gc=False):
    id: UUID
    type: str
    name: str


class TableRef(_Part, frozen=True, kw_only=True, gc=False):
    """A table as its completed, folded name parts (1 to 3: catalog, schema, table) and its quoted display."""

    name: _NameParts
    display: str


class ColumnUse(_Part, frozen=True, kw_only=True, gc=False):
    """A column of one of the record's tables, the table by its name parts."""

    table: _NameParts
    column: str


class ScrapedEvent(_Part, frozen=True, kw_only=True, gc=False, tag_field="kind"):
    """What the two records of the topic share: the methods of the other events."""

    tenant: UUID

    def model_dump_json(self) -> str:
        """Its JSON, the value of a message."""
        return self.to_json().decode()

    def to_json(self) -> bytes:
        """Its JSON in UTF-8."""
        return _encoder.encode(self)

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with other values in some fields."""
        return structs.replace(self, **update)


class BiQueryScraped(ScrapedEvent, frozen=True, kw_only=True, gc=False, tag="bi_query"):
    """A query or chart reference seen by a collector. Its job, sync and job sequence place it in a ledger."""

    kind: ClassVar[Literal["bi_query"]] = "bi_query"
    id: UUID
    environment: Environment = "production"
    connector: ConnectorRef
    dialect: str
    job_id: UUID | None = None
    sync_seq: _NotNegative | None = None
    job_seq: _Positive | None = None
    resource_type: ResourceType
    resource_id: Annotated[str, Meta(min_length=1, max_length=1024)]
    title: str | None = None
    sql_text: str | None = None
    sql_truncated: bool = False
    executed_by: str | None = None
    executed_at: Annotated[datetime, Meta(tz=True)] | None = None
    execution_count: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 1
    dashboard_id: str | None = None
    dashboard_title: str | None = None
    dashboard_url: str | None = None
    tables: tuple[TableRef, ...] = ()
    columns: tuple[ColumnUse, ...] = ()


class SyncCompleted(ScrapedEvent, frozen=True, kw_only=True, gc=False, tag="sync_completed"):
    """The closing record of a job: `count` records were sent under (`job_id`, `sync_seq`)."""

    kind: ClassVar[Literal["sync_completed"]] = "sync_completed"
    environment: Environment = "production"
    connector: ConnectorRef
    job_id: UUID
    sync_seq: _NotNegative
    count: _NotNegative
    complete: bool


BiQueryRecord = BiQueryScraped | SyncCompleted
