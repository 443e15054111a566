"""What becomes of an item of a BI tool: a record without literals, its tables completed. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, TableRef
from libs.common.ids import bi_query_id
from libs.common.settings import Environment
from libs.common.sql import ColumnRef, Dialect, TableName, analyse, anonymise
from libs.common.sql.names import Identifier, complete
from services.scraper.tools.interface import Item
from services.scraper.tools.template_values import MARK
from services.scraper.tools.templates import forms, shown, without_mark

LONGEST_TITLE: Final = 500
_LONGEST_USER: Final = 320
_BLANKS: Final = re.compile(r"[\s\x00-\x1f\x7f]+")
_UNSTORABLE: Final = re.compile("[\ud800-\udfff]")
_SQL_LIKE: Final = re.compile(
    r"\bselect\b.*\bfrom\b|\binsert\s+into\b|\bdelete\s+from\b|\bupdate\b.+\bset\b|\bwhere\b.*[=<>']", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose records these are, and which sync of a job tells them."""

    tenant: UUID
    environment: Environment
    connector: ConnectorRef
    job_id: UUID
    sync_seq: int


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an item says without its literals."""

    text: str | None
    truncated: bool
    tables: tuple[TableName, ...]
    columns: tuple[ColumnRef, ...]


def bi_query(item: Item, origin: Origin, job_seq: int) -> BiQueryScraped:
    """The record of one item."""
    return _record(item, origin, job_seq, meaning(item))


def bi_queries(items: Iterable[Item], origin: Origin, first_seq: int) -> list[BiQueryScraped]:
    """Records numbered from `first_seq` on; a statement that several items share is analysed once."""
    known: dict[tuple[object, ...], Meaning] = {}
    records = list[BiQueryScraped]()
    for number, item in enumerate(items, first_seq):
        key = (item.sql, item.also, item.tables, item.shown, item.dialect, item.defaults)
        if key not in known:
            known[key] = meaning(item)
        records.append(_record(item, origin, number, known[key]))
    return records


def meaning(item: Item) -> Meaning:
    """Text, tables and columns of an item: those of its SQL, else the tables that the tool listed."""
    found = [analyse(form, item.dialect, item.defaults) for sql in _statements(item) for form in forms(sql)]
    tables = {without_mark(table.parts) for each in found for table in each.tables} - {()}
    if not tables:
        tables = {name.parts for name in _listed(item)}
    kept = frozenset(tables)
    columns = {
        ColumnRef(TableName(without_mark(column.table.parts)), column.column)
        for each in found
        for column in each.columns
        if MARK not in column.column.lower() and without_mark(column.table.parts) in kept
    }
    text, truncated = (shown(found[0].text), found[0].truncated) if found and item.shown else (None, False)
    return Meaning(text or None, truncated, tuple(map(TableName, sorted(tables))), tuple(sorted(columns)))


def title_of(title: str | None, dialect: Dialect) -> str | None:
    """A title in one line of at most 500 characters; one that is SQL loses its literals like any other SQL."""
    if title is None:
        return None
    line = _BLANKS.sub(" ", _UNSTORABLE.sub("\ufffd", title[: 4 * LONGEST_TITLE])).strip()
    if _SQL_LIKE.search(line):
        line = anonymise(line, dialect)[0]
    return line[:LONGEST_TITLE] or None


def _statements(item: Item) -> tuple[str, ...]:
    return () if item.sql is None else (item.sql, *item.also)


def _listed(item: Item) -> Iterable[TableName]:
    for parts in item.tables:
        # BI tools keep names in lower case where the database folds; any other case was written in quotes.
        written = [Identifier(part, part != part.lower()) for part in parts if part]
        name = complete(written, item.defaults, item.dialect)
        if name is not None:
            yield name


def _user(name: str | None) -> str | None:
    return (_BLANKS.sub(" ", _UNSTORABLE.sub("\ufffd", name[:_LONGEST_USER])).strip() or None) if name else None


def _record(item: Item, origin: Origin, job_seq: int, said: Meaning) -> BiQueryScraped:
    dashboard = item.dashboard
    return BiQueryScraped(
        tenant=origin.tenant,
        id=bi_query_id(origin.tenant, origin.connector.id, item.resource_type, item.resource_id),
        environment=origin.environment,
        connector=origin.connector,
        dialect=item.dialect.value,
        job_id=origin.job_id,
        sync_seq=origin.sync_seq,
        job_seq=job_seq,
        resource_type=item.resource_type,
        resource_id=item.resource_id,
        title=title_of(item.title, item.dialect),
        sql_text=said.text,
        sql_truncated=said.truncated,
        executed_by=_user(item.executed_by),
        executed_at=item.executed_at,
        dashboard_id=dashboard.id if dashboard else None,
        dashboard_title=title_of(dashboard.title, item.dialect) if dashboard else None,
        dashboard_url=dashboard.url if dashboard else None,
        tables=tuple(TableRef(name=table.parts, display=table.display) for table in said.tables),
        columns=tuple(ColumnUse(table=column.table.parts, column=column.column) for column in said.columns),
    )
