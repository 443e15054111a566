"""Bodies of requests and answers."""

from datetime import date, datetime
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.aggregator.domain import UnmatchedReason

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=63)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"\S")]
Description = Annotated[str, Field(max_length=10_000)]
Item = TypeVar("Item")


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[Item]
    next_cursor: str | None


class NewSpace(Body):
    name: Name
    slug: Annotated[Slug | None, Field(description="Made from the name when absent.")] = None
    description: Description | None = None


class SpacePatch(Body):
    """Absent and null fields stay as they are; an empty description removes it."""

    name: Name | None = None
    slug: Slug | None = None
    description: Description | None = None


class SpaceOut(Answer):
    id: UUID
    slug: str
    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime


class TableClaim(Body):
    """A table of a product: 1 to 3 name parts; of any connector unless one is named."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=1024, examples=["public.orders", 'shop."Order Items"'])]
    connector_id: UUID | None = None


Tables = Annotated[list[TableClaim], Field(max_length=1000)]


class NewProduct(Body):
    name: Name
    slug: Annotated[Slug | None, Field(description="Made from the name when absent.")] = None
    description: Description | None = None
    tables: Tables = Field(default_factory=list)


class ProductPatch(SpacePatch):
    tables: Annotated[Tables | None, Field(description="All tables of the product from now on.")] = None


class ProductOut(Answer):
    id: UUID
    space_id: UUID
    slug: str
    name: str
    description: str | None
    tables: list[TableClaim]
    created_at: datetime
    updated_at: datetime


class Aggregated(BaseModel):
    products_updated: int


class StatsOut(Answer):
    """ProductUsageStats; the window is the 30 days before `updated_at`."""

    product_id: UUID
    space_id: UUID
    product_name: str
    product_slug: str
    query_count_30d: int
    execution_count_30d: int
    reference_count: int
    unique_users_30d: int
    last_queried_at: datetime | None
    popularity_score: float
    top_columns: list[str]
    updated_at: datetime


class DailyOut(Answer):
    """Executions of one UTC day; the first and the last day of a window are cut by it."""

    date: date
    query_count: int
    unique_users: int


class ProductUsageOut(StatsOut):
    since: datetime
    until: datetime
    daily: list[DailyOut]


class UnusedOut(Answer):
    id: UUID
    name: str
    slug: str
    tables: list[TableClaim]
    last_queried_at: datetime | None
    popularity_score: float


class PopularOut(Answer):
    sql_text: str
    query_count: int
    user_count: int
    last_queried_at: datetime
    tables: list[str]


class UnmatchedOut(Answer):
    table: str
    connector_id: UUID
    reason: Annotated[
        UnmatchedReason,
        Field(
            description="`no_product`: nothing like it is claimed; `too_short`: the reference names fewer parts than "
            "the one claim that ends like it; `ambiguous`: it fits several claimed tables."
        ),
    ]
    query_count: int
    execution_count: int
    reference_count: int
    user_count: int
    last_seen_at: datetime


class BiQueryOut(Answer):
    id: UUID
    connector_id: UUID
    resource_type: str
    resource_id: str
    title: str | None
    sql_text: str | None
    referenced_tables: list[str]
    referenced_columns: list[str]
    executed_by: str | None
    executed_at: datetime | None
    execution_count: int
    dashboard_id: str | None
    dashboard_title: str | None
    dashboard_url: str | None
    created_at: datetime
