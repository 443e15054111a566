"""Superset's databases and datasets: which dialect they speak, and what completes names in their SQL. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from libs.common.sql import DefaultNames, Dialect, fold
from services.scraper.tools.fields import Row, inner, text, whole

# Backends whose name alone does not say their dialect; others are what `Dialect.of` makes of them.
_BACKENDS: Final[Mapping[str, Dialect]] = {
    "clickhousedb": Dialect.CLICKHOUSE,
    "cockroachdb": Dialect.POSTGRES,
    "couchbase": Dialect.ANSI,
    "doris": Dialect.MYSQL,
    "pydoris": Dialect.MYSQL,
    "greenplum": Dialect.POSTGRES,
    "hologres": Dialect.POSTGRES,
    "impala": Dialect.HIVE,
    "motherduck": Dialect.DUCKDB,
    "netezza": Dialect.POSTGRES,
    "oceanbase": Dialect.MYSQL,
    "risingwave": Dialect.POSTGRES,
    "singlestoredb": Dialect.MYSQL,
    "starrocks": Dialect.MYSQL,
    "sybase": Dialect.TSQL,
    "timescaledb": Dialect.POSTGRES,
    "yugabytedb": Dialect.POSTGRES,
    "gsheets": Dialect.SQLITE,
    "shillelagh": Dialect.SQLITE,
    "superset": Dialect.SQLITE,
}
_PUBLIC: Final = {
    Dialect.POSTGRES: "public",
    Dialect.REDSHIFT: "public",
    Dialect.DUCKDB: "main",
    Dialect.SNOWFLAKE: "PUBLIC",
    Dialect.TSQL: "dbo",
    Dialect.DATABRICKS: "default",
    Dialect.HIVE: "default",
    Dialect.SPARK: "default",
}
# What the path of an address means: `/catalog/schema`, or `/schema` alone where there are no catalogs.
_ONE_LEVEL: Final = frozenset({Dialect.MYSQL, Dialect.MARIADB, Dialect.CLICKHOUSE, Dialect.HIVE, Dialect.SPARK})
_NO_PATH: Final = frozenset({Dialect.SQLITE, Dialect.DUCKDB, Dialect.ORACLE, Dialect.ATHENA})


@dataclass(frozen=True, slots=True)
class Database:
    """A database that Superset queries. `catalog` and `schema` are its session's own."""

    id: int
    name: str
    dialect: Dialect = Dialect.ANSI
    catalog: str | None = None
    schema: str | None = None

    def defaults(self, schema: str | None = None, catalog: str | None = None) -> DefaultNames:
        """What completes names in SQL that runs under this schema and catalog, or under the database's own."""
        found = schema or self.schema or _PUBLIC.get(self.dialect)
        folded = _stored(found, self.dialect)
        return DefaultNames(_stored(catalog or self.catalog, self.dialect), (folded,) if folded else ())


UNKNOWN_DATABASE: Final = Database(0, "")


@dataclass(frozen=True, slots=True)
class Dataset:
    """A table (`sql` is None) or a query that charts stand on."""

    id: int
    database: Database
    table: str
    schema: str | None = None
    catalog: str | None = None
    sql: str | None = field(default=None, repr=False)

    @property
    def defaults(self) -> DefaultNames:
        """What completes names in its SQL."""
        return self.database.defaults(self.schema, self.catalog)

    @property
    def name(self) -> tuple[str, ...]:
        """The table's name as far as it is known."""
        parts = (self.catalog if self.schema else None, self.schema, self.table)
        return tuple(part for part in parts if part)


def dialect_of(backend: str | None) -> Dialect:
    """The dialect of a database by Superset's name of its backend; ANSI for one that is not known."""
    name = (backend or "").strip().lower()
    return _BACKENDS.get(name) or Dialect.of(name)


def database_of(row: Row, address: str | None = None) -> Database | None:
    """A database of the list; its names from its (masked) address where that may be read."""
    number = whole(row, "id")
    if number is None:
        return None
    dialect = dialect_of(text(row, "backend"))
    catalog, schema = _names_in(address, dialect)
    return Database(number, text(row, "database_name") or "", dialect, catalog, schema)


def dataset_of(row: Row, databases: Mapping[int, Database]) -> Dataset | None:
    """A dataset of the list."""
    number, table = whole(row, "id"), text(row, "table_name")
    if number is None or table is None:
        return None
    database = databases.get(whole(inner(row, "database"), "id") or 0, UNKNOWN_DATABASE)
    return Dataset(number, database, table, text(row, "schema"), text(row, "catalog"), text(row, "sql"))


def _stored(name: str | None, dialect: Dialect) -> str | None:
    """As the database stores it: SQLAlchemy writes what the database folds in lower case."""
    return fold(name, name != name.lower(), dialect) if name else None


def _names_in(address: str | None, dialect: Dialect) -> tuple[str | None, str | None]:
    """Catalog and schema that an SQLAlchemy address names."""
    try:
        parts = urlsplit(address or "")
        host = parts.hostname
    except ValueError:
        return None, None
    if dialect is Dialect.BIGQUERY:
        return host, unquote(parts.path.strip("/")) or None
    names = [unquote(name) for name in parts.path.split("/") if name]
    if dialect in _NO_PATH or not names or len(names) > 2:
        return None, None
    if dialect in _ONE_LEVEL:
        return None, names[0]
    return names[0], names[1] if len(names) == 2 else None
