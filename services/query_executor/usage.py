"""An execution as usage of the tables that it read: a record without literals, as the collectors send them."""

from datetime import datetime
from typing import Final

from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, TableRef
from libs.common.ids import bi_query_id
from libs.common.settings import Environment
from libs.common.sql import DefaultNames, Dialect, TableName, analyse
from services.query_executor.domain import CONNECTOR_TYPE, saved_queries_connector
from services.query_executor.drivers.source import Source
from services.query_executor.secret_types import ElasticsearchConnection, SqlConnection
from services.query_executor.statement import Bound, Engine

_LITERAL: Final = "''"  # stands where a value was bound, and becomes `?` as any literal does
_LONGEST_TITLE: Final = 500
_DIALECTS: Final = {
    Engine.POSTGRES: Dialect.POSTGRES,
    Engine.INTERNAL: Dialect.POSTGRES,
    Engine.REDSHIFT: Dialect.REDSHIFT,
    Engine.MYSQL: Dialect.MYSQL,
    Engine.CLICKHOUSE: Dialect.CLICKHOUSE,
    Engine.ELASTICSEARCH: Dialect.ANSI,
}


def _defaults(source: Source) -> DefaultNames:
    """What completes short names: the database, and the schema where sessions begin."""
    if not isinstance(source.connection, SqlConnection):
        return DefaultNames(None, ())
    database = source.connection.database
    if source.engine in (Engine.POSTGRES, Engine.REDSHIFT):
        return DefaultNames(database, ("public",))
    return DefaultNames(None, (database,))


def usage_record(
    source: Source, bound: Bound, key: str, title: str, secret_name: str | None, *,
    environment: Environment, executed_by: str | None, executed_at: datetime,
) -> BiQueryScraped:  # fmt: skip
    """One execution that succeeded."""
    dialect = _DIALECTS[source.engine]
    connector = ConnectorRef(
        id=saved_queries_connector(source.secret_id), type=CONNECTOR_TYPE, name=secret_name or "internal"
    )
    known = BiQueryScraped(
        tenant=source.tenant,
        id=bi_query_id(source.tenant, connector.id, "query_log", key),
        environment=environment,
        connector=connector,
        dialect=dialect.value,
        resource_type="query_log",
        resource_id=key,
        title=title[:_LONGEST_TITLE],
        executed_by=executed_by,
        executed_at=executed_at,
    )
    if isinstance(source.connection, ElasticsearchConnection):
        return known.model_copy(update={"tables": _indexes(source.connection.index)})
    said = analyse(_LITERAL.join(bound.parts), dialect, _defaults(source))
    return known.model_copy(
        update={
            "sql_text": said.text or None,
            "sql_truncated": said.truncated,
            "tables": tuple(TableRef(name=table.parts, display=table.display) for table in said.tables),
            "columns": tuple(ColumnUse(table=each.table.parts, column=each.column) for each in said.columns),
        }
    )


def _indexes(pattern: str) -> tuple[TableRef, ...]:
    names = [TableName((name,)) for name in pattern.split(",")]
    return tuple(TableRef(name=name.parts, display=name.display) for name in names)
