"""Statements that change rows, define tables, or look after a database."""

from typing import Final

from bench.query_log.pieces import COLUMNS, Pieces, Table
from bench.query_log.queries import query
from libs.common.sql import Dialect

_UPSERTS: Final = {
    Dialect.POSTGRES: "\nON CONFLICT (id) DO UPDATE SET {c} = EXCLUDED.{c}",
    Dialect.MYSQL: "\nON DUPLICATE KEY UPDATE {c} = VALUES({c})",
}
_UTILITIES: Final = {
    Dialect.SNOWFLAKE: (
        "ALTER WAREHOUSE etl_wh SET WAREHOUSE_SIZE = \x01s\x02",
        "COPY INTO {t} FROM @landing_stage/{c}/ FILE_FORMAT = (TYPE = \x01s\x02)",
        "GRANT SELECT ON TABLE {t} TO ROLE reader",
        "SHOW TABLES LIKE \x01s\x02",
    ),
    Dialect.BIGQUERY: (
        "EXPORT DATA OPTIONS (uri = \x01s\x02, format = \x01s\x02) AS SELECT {c}, {n} FROM {t}",
        "ALTER TABLE {t} SET OPTIONS (description = \x01s\x02)",
        "DROP TABLE IF EXISTS {t}",
    ),
    Dialect.POSTGRES: (
        "REFRESH MATERIALIZED VIEW CONCURRENTLY {t}",
        "ANALYZE {t}",
        "VACUUM (ANALYZE) {t}",
        "COPY (SELECT {c}, {n} FROM {t} WHERE {n} > \x01i\x02) TO STDOUT WITH (FORMAT csv)",
        "CREATE INDEX CONCURRENTLY ix_{c} ON {t} ({c}, {n})",
        "EXPLAIN (ANALYZE, BUFFERS) SELECT {c}, {n} FROM {t} WHERE {i} = \x01i\x02",
    ),
    Dialect.MYSQL: (
        "LOAD DATA LOCAL INFILE \x01s\x02 INTO TABLE {t} FIELDS TERMINATED BY \x01s\x02",
        "REPLACE INTO {t} ({c}, {n}) VALUES (\x01s\x02, \x01i\x02)",
        "ANALYZE TABLE {t}",
        "EXPLAIN SELECT {c} FROM {t} WHERE {i} = \x01i\x02",
    ),
    Dialect.REDSHIFT: (
        "UNLOAD (\x01s\x02) TO \x01s\x02 IAM_ROLE \x01s\x02",
        "COPY {t} FROM \x01s\x02 IAM_ROLE \x01s\x02 FORMAT AS PARQUET",
        "VACUUM {t}",
        "ANALYZE {t}",
    ),
    Dialect.CLICKHOUSE: (
        "OPTIMIZE TABLE {t} FINAL",
        "ALTER TABLE {t} DELETE WHERE {d} < toDateTime(\x01t\x02)",
        "ALTER TABLE {t} UPDATE {c} = \x01s\x02 WHERE {i} = \x01i\x02",
        "SYSTEM FLUSH LOGS",
    ),
}


def change(of: Pieces) -> str:
    """INSERT, UPDATE, DELETE or MERGE."""
    table = of.table()
    if of.dialect is Dialect.CLICKHOUSE:
        return of.draw.choice([_insert_values, _insert_query])(of, table)
    return of.draw.choice([_insert_values, _insert_values, _insert_query, _update, _delete, _merge])(of, table)


def definition(of: Pieces) -> str:
    """CREATE TABLE with columns, as a query, or a view."""
    table = of.table()
    if of.chance(0.3) and of.dialect is not Dialect.CLICKHOUSE:
        columns = [f"{name} VARCHAR(255)" for name in of.draw.sample(COLUMNS["c"], 3)]
        columns += [f"{name} TIMESTAMP" for name in of.draw.sample(COLUMNS["d"], 2)]
        if of.dialect is Dialect.BIGQUERY:
            columns = [column.replace("VARCHAR(255)", "STRING") for column in columns]
        return f"CREATE TABLE IF NOT EXISTS {table.path} (\n  " + ",\n  ".join(columns) + "\n)"
    if of.chance(0.5) or of.dialect is Dialect.CLICKHOUSE:
        return f"CREATE OR REPLACE VIEW {table.path} AS\n{query(of)}"
    return f"CREATE TABLE {table.path} AS\n{query(of)}"


def administration(of: Pieces) -> str:
    """What administrators and loaders send."""
    table = Table(of.table().path, "")
    form = of.draw.choice(_UTILITIES[of.dialect]).replace("{t}", table.path)
    for kind, names in COLUMNS.items():
        form = form.replace(f"{{{kind}}}", of.draw.choice(names))
    return form


def _insert_values(of: Pieces, table: Table) -> str:
    text, number = of.draw.sample(COLUMNS["c"], 2), of.draw.choice(COLUMNS["n"])
    date = of.draw.choice(COLUMNS["d"])
    head = f"INSERT INTO {table.path} (id, {text[0]}, {text[1]}, {number}, {date}) VALUES \x01rissft\x02"
    upsert = _UPSERTS.get(of.dialect)
    return head + (upsert.format(c=text[0]) if upsert and of.chance(0.6) else "")


def _insert_query(of: Pieces, table: Table) -> str:
    source, text, number = of.table(1), of.draw.choice(COLUMNS["c"]), of.draw.choice(COLUMNS["n"])
    items = f"{source.alias}.{text}, SUM({source.alias}.{number})"
    rest = f"FROM {of.named(source)}\n{of.where([source])}\nGROUP BY {source.alias}.{text}"
    return f"INSERT INTO {table.path} ({text}, {number})\nSELECT {items}\n{rest}"


def _update(of: Pieces, table: Table) -> str:
    text, number, key = (of.draw.choice(COLUMNS[kind]) for kind in "cni")
    return f"UPDATE {table.path} SET {text} = \x01s\x02, {number} = {number} + \x01i\x02 WHERE {key} IN (\x01a\x02)"


def _delete(of: Pieces, table: Table) -> str:
    key, date, inner = of.draw.choice(COLUMNS["i"]), of.draw.choice(COLUMNS["d"]), of.table(1)
    chosen = f"SELECT {inner.alias}.{key} FROM {of.named(inner)} WHERE {of.condition([inner])}"
    return f"DELETE FROM {table.path} WHERE {date} < \x01d\x02 AND {key} IN ({chosen})"


def _merge(of: Pieces, table: Table) -> str:
    if of.dialect is Dialect.MYSQL:
        return _delete(of, table)
    source, text, number = of.table(1), of.draw.choice(COLUMNS["c"]), of.draw.choice(COLUMNS["n"])
    head = f"MERGE INTO {table.path} AS target USING {source.path} AS source ON target.id = source.id"
    found = f"WHEN MATCHED AND source.{number} > \x01i\x02 THEN UPDATE SET {text} = source.{text}"
    new = f"WHEN NOT MATCHED THEN INSERT (id, {text}) VALUES (source.id, \x01s\x02)"
    return f"{head}\n{found}\n{new}"
