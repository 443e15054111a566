"""Saved queries and SQL Lab runs as items. Pure."""

import re
from typing import Final

from services.scraper.tools.fields import Row, inner, moment, real, rows, text, whole
from services.scraper.tools.interface import Item
from services.scraper.tools.superset_catalogue import LONGEST_TITLE, Catalogue
from services.scraper.tools.superset_chart_reader import cut
from services.scraper.tools.superset_names import UNKNOWN_DATABASE, Database
from services.scraper.tools.templates import has_template, with_datasets

UNFINISHED: Final = frozenset({"pending", "scheduled", "running", "fetching"})
_MOST_TABLES: Final = 100
_NO_NAME: Final = re.compile(r"[{}'\n]|.{256}", re.DOTALL)


def saved_query(row: Row, catalogue: Catalogue) -> Item:
    """A saved query; its id is known to be readable."""
    database = _database(row, catalogue)
    sql = text(row, "sql")
    return Item(
        resource_type="saved_query",
        resource_id=str(whole(row, "id")),
        dialect=database.dialect,
        defaults=database.defaults(text(row, "schema"), text(row, "catalog")),
        title=(text(row, "label") or "")[:LONGEST_TITLE] or None,
        sql=cut(with_datasets(sql, catalogue.dataset_sql)) if sql else None,
        tables=_tables(row),
    )


def run(row: Row, catalogue: Catalogue, excluded: frozenset[str]) -> Item | None:
    """A SQL Lab run that succeeded; None for any other, for the account's own, and for excluded users'.

    Raises ValueError where it succeeded and cannot be read.
    """
    if text(row, "status") != "success":
        return None
    user = whole(inner(row, "user"), "id")
    name = catalogue.user(user)
    if (user is not None and user == catalogue.own) or name in excluded:
        return None
    number, started = whole(row, "id"), real(row, "start_time")
    executed_at = moment(started) if started is not None else None
    if number is None or executed_at is None:
        raise ValueError("a run without id or time")
    database = _database(row, catalogue)
    sql, also = _statement(row)
    return Item(
        resource_type="query_log",
        resource_id=str(number),
        dialect=database.dialect,
        defaults=database.defaults(text(row, "schema"), text(row, "catalog")),
        title=(text(row, "tab_name") or "")[:LONGEST_TITLE] or None,
        sql=cut(with_datasets(sql, catalogue.dataset_sql)) if sql else None,
        also=also,
        tables=_tables(row),
        executed_by=name,
        executed_at=executed_at,
    )


def _statement(row: Row) -> tuple[str | None, tuple[str, ...]]:
    """What was written; for a template what it became, which is the last statement only, so that others are added."""
    written, executed = text(row, "sql"), text(row, "executed_sql")
    if written is None or executed is None or not has_template(written):
        return written or executed, ()
    return executed, (cut(written),) if ";" in written.strip().rstrip(";") else ()


def _database(row: Row, catalogue: Catalogue) -> Database:
    said = inner(row, "database")
    number, name = whole(said, "id"), text(said, "database_name")
    if number is not None:
        return catalogue.databases.get(number, UNKNOWN_DATABASE)
    return next((known for known in catalogue.databases.values() if name and known.name == name), UNKNOWN_DATABASE)


def _tables(row: Row) -> tuple[tuple[str, ...], ...]:
    """Superset's own reading of the SQL; where it took a template or worse for a name, it is left out."""
    found = [
        tuple(part for part in (text(table, "catalog"), text(table, "schema"), text(table, "table")) if part)
        for table in rows(row, "sql_tables")[:_MOST_TABLES]
        if text(table, "table")
    ]
    return tuple(dict.fromkeys(name for name in found if not any(_NO_NAME.search(part) for part in name)))
