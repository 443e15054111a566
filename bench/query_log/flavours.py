"""What the generated query log knows of each warehouse: how it writes names, times, and its own clauses."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from libs.common.sql import Dialect


@dataclass(frozen=True, slots=True)
class Flavour:
    """One dialect of the log. `{c}` stands for a column, `{t}` for a table; literals are slots (`\\x01kind\\x02`)."""

    share: float
    quote: str
    paths: tuple[str, ...]
    month: str
    recent: str
    expressions: tuple[str, ...]
    aggregates: tuple[str, ...]
    conditions: tuple[str, ...]
    sources: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()
    qualify: bool = False


_COMMON_EXPRESSIONS: Final = (
    "COALESCE({c}, \x01s\x02)",
    "UPPER({c})",
    "ROUND({n} * \x01f\x02, \x01n\x02)",
    "{n} - COALESCE({m}, 0)",
    "CASE WHEN {n} >= \x01i\x02 THEN \x01s\x02 WHEN {n} >= \x01i\x02 THEN \x01s\x02 ELSE \x01s\x02 END",
    "CASE {c} WHEN \x01s\x02 THEN \x01n\x02 ELSE 0 END",
    "CAST({n} AS DECIMAL(18, 2))",
    "CONCAT({c}, \x01s\x02, {c})",
    "NULLIF({n}, 0)",
    "SUBSTRING({c}, \x01n\x02, \x01n\x02)",
)
_COMMON_AGGREGATES: Final = (
    "COUNT(*)",
    "COUNT(DISTINCT {i})",
    "SUM({n})",
    "AVG({n})",
    "MAX({d})",
    "MIN({n})",
    "SUM(CASE WHEN {c} = \x01s\x02 THEN {n} ELSE 0 END)",
    "SUM({n}) / NULLIF(COUNT(DISTINCT {i}), 0)",
    "ROUND(AVG({n}), \x01n\x02)",
)
_COMMON_CONDITIONS: Final = (
    "{c} = \x01s\x02",
    "{c} <> \x01s\x02",
    "{n} > \x01i\x02",
    "{n} BETWEEN \x01i\x02 AND \x01i\x02",
    "{c} IN (\x01b\x02)",
    "{i} IN (\x01a\x02)",
    "{i} = \x01i\x02",
    "{c} LIKE \x01l\x02",
    "{d} >= \x01d\x02",
    "{d} BETWEEN \x01d\x02 AND \x01d\x02",
    "{c} IS NOT NULL",
    "({c} = \x01s\x02 OR {n} < \x01f\x02)",
    "NOT ({c} IN (\x01b\x02) AND {n} = \x01i\x02)",
    "LOWER({c}) = \x01s\x02",
)


def _flavour(share: float, quote: str, paths: tuple[str, ...], **own: object) -> Flavour:
    own["expressions"] = _COMMON_EXPRESSIONS + tuple(own.get("expressions", ()))  # type: ignore[arg-type]
    own["aggregates"] = _COMMON_AGGREGATES + tuple(own.get("aggregates", ()))  # type: ignore[arg-type]
    own["conditions"] = _COMMON_CONDITIONS + tuple(own.get("conditions", ()))  # type: ignore[arg-type]
    return Flavour(share, quote, paths, **own)  # type: ignore[arg-type]


FLAVOURS: Final = MappingProxyType(
    {
        Dialect.SNOWFLAKE: _flavour(
            0.28,
            '"',
            ("{s}.{t}", "analytics.{s}.{t}", "{t}", '"ANALYTICS"."{s}"."{t}"'),
            month="DATE_TRUNC(\x01u\x02, {d})",
            recent="{d} >= DATEADD(day, -\x01n\x02, CURRENT_DATE())",
            expressions=(
                "{j}:customer.name::string",
                "{j}:items[0].price::number(10, 2)",
                "IFF({n} > \x01i\x02, \x01s\x02, {c})",
                "TRY_TO_NUMBER({c})",
                "DATEDIFF(\x01u\x02, {d}, CURRENT_TIMESTAMP())",
                "PARSE_JSON({c}):id::int",
                "ZEROIFNULL({n})",
            ),
            aggregates=(
                "LISTAGG(DISTINCT {c}, \x01s\x02) WITHIN GROUP (ORDER BY {c})",
                "COUNT_IF({n} > \x01i\x02)",
                "APPROX_COUNT_DISTINCT({i})",
                "MEDIAN({n})",
            ),
            conditions=("{c} ILIKE \x01l\x02", "{c} ILIKE ANY (\x01b\x02)", "{j}:status::string = \x01s\x02"),
            sources=(", LATERAL FLATTEN(input => {j}:items) f", " SAMPLE (10)", " AT (OFFSET => -\x01n\x02)"),
            qualify=True,
        ),
        Dialect.BIGQUERY: _flavour(
            0.23,
            "`",
            ("`acme-prod.{s}.{t}`", "`{s}.{t}`", "{s}.{t}", "`acme-prod`.{s}.{t}"),
            month="DATE_TRUNC({d}, MONTH)",
            recent="{d} >= DATE_SUB(CURRENT_DATE(), INTERVAL \x01n\x02 DAY)",
            expressions=(
                "SAFE_CAST({c} AS INT64)",
                "SAFE_DIVIDE({n}, {m})",
                "JSON_EXTRACT_SCALAR({j}, \x01s\x02)",
                "STRUCT({c} AS label, {n} AS amount)",
                "IF({n} > \x01i\x02, {c}, NULL)",
                "FORMAT_TIMESTAMP(\x01s\x02, {d})",
                "TIMESTAMP_DIFF(CURRENT_TIMESTAMP(), {d}, HOUR)",
                "REGEXP_EXTRACT({c}, r'^([a-z]+)-')",
            ),
            aggregates=(
                "COUNTIF({n} > \x01i\x02)",
                "APPROX_QUANTILES({n}, 100)[OFFSET(50)]",
                "ARRAY_AGG({c} IGNORE NULLS ORDER BY {d} DESC LIMIT \x01n\x02)",
                "STRING_AGG(DISTINCT {c}, \x01s\x02)",
                "ANY_VALUE({c})",
            ),
            conditions=(
                "{c} = \x01q\x02",
                "{c} IN UNNEST([\x01b\x02])",
                "REGEXP_CONTAINS({c}, \x01s\x02)",
                "DATE({d}) = DATE \x01d\x02",
            ),
            sources=(", UNNEST({j}) AS item", " FOR SYSTEM_TIME AS OF TIMESTAMP \x01t\x02"),
            qualify=True,
        ),
        Dialect.POSTGRES: _flavour(
            0.19,
            '"',
            ("{s}.{t}", "{t}", '"{s}"."{t}"'),
            month="DATE_TRUNC(\x01u\x02, {d})",
            recent="{d} > NOW() - INTERVAL \x01v\x02",
            expressions=(
                "{j}->>\x01s\x02",
                "({j}->\x01s\x02->>\x01s\x02)::numeric",
                "{n}::numeric(12, 2)",
                "EXTRACT(EPOCH FROM {d})",
                "{c} || \x01s\x02 || {c}",
                "TO_CHAR({d}, \x01s\x02)",
                "ARRAY[{c}, \x01s\x02]",
            ),
            aggregates=(
                "COUNT(*) FILTER (WHERE {n} > \x01i\x02)",
                "STRING_AGG({c}, \x01s\x02 ORDER BY {c})",
                "ARRAY_AGG(DISTINCT {c})",
                "PERCENTILE_CONT(\x01f\x02) WITHIN GROUP (ORDER BY {n})",
                "JSONB_AGG({j})",
            ),
            conditions=(
                "{c} ILIKE \x01l\x02",
                "{i} = ANY(ARRAY[\x01a\x02])",
                "{j} @> \x01s\x02",
                "{c} = \x01e\x02",
                "{c} ~* \x01s\x02",
                "{i} = $1",
            ),
            sources=(
                " CROSS JOIN LATERAL jsonb_array_elements({j}) AS e",
                " CROSS JOIN generate_series(1, \x01n\x02) AS g",
            ),
            tails=("FOR UPDATE SKIP LOCKED", "OFFSET \x01i\x02"),
        ),
        Dialect.MYSQL: _flavour(
            0.12,
            "`",
            ("{t}", "`{t}`", "`{s}`.`{t}`", "{s}.{t}"),
            month="DATE_FORMAT({d}, \x01s\x02)",
            recent="{d} >= DATE_SUB(NOW(), INTERVAL \x01n\x02 DAY)",
            expressions=(
                "IFNULL({c}, \x01q\x02)",
                "IF({n} > \x01i\x02, \x01s\x02, \x01s\x02)",
                "{j}->>\x01s\x02",
                "JSON_UNQUOTE(JSON_EXTRACT({j}, \x01s\x02))",
                "TIMESTAMPDIFF(DAY, {d}, NOW())",
                "UNIX_TIMESTAMP({d})",
            ),
            aggregates=(
                "GROUP_CONCAT(DISTINCT {c} ORDER BY {c} SEPARATOR \x01s\x02)",
                "STD({n})",
                "SUM(IF({c} = \x01q\x02, 1, 0))",
            ),
            conditions=("{c} = \x01q\x02", "{c} REGEXP \x01s\x02", "{c} <=> \x01s\x02", "FIND_IN_SET(\x01s\x02, {c})"),
            tails=("LIMIT \x01n\x02, \x01n\x02",),
        ),
        Dialect.REDSHIFT: _flavour(
            0.10,
            '"',
            ("{s}.{t}", "{t}", '"{s}"."{t}"', "warehouse.{s}.{t}"),
            month="DATE_TRUNC(\x01u\x02, {d})",
            recent="{d} >= DATEADD(day, -\x01n\x02, GETDATE())",
            expressions=(
                "NVL({c}, \x01s\x02)",
                "DATEDIFF(day, {d}, SYSDATE)",
                "JSON_EXTRACT_PATH_TEXT({j}, \x01s\x02)",
                "{n}::decimal(18, 4)",
                "DECODE({c}, \x01s\x02, \x01n\x02, 0)",
            ),
            aggregates=(
                "LISTAGG({c}, \x01s\x02) WITHIN GROUP (ORDER BY {d})",
                "APPROXIMATE COUNT(DISTINCT {i})",
                "MEDIAN({n})",
            ),
            conditions=("{c} ILIKE \x01l\x02", "{c} SIMILAR TO \x01s\x02"),
            qualify=True,
        ),
        Dialect.CLICKHOUSE: _flavour(
            0.07,
            "`",
            ("{s}.{t}", "{t}", "`{s}`.`{t}`"),
            month="toStartOfMonth({d})",
            recent="{d} >= now() - INTERVAL \x01n\x02 DAY",
            expressions=(
                "toDate({d})",
                "if({n} > \x01i\x02, \x01s\x02, {c})",
                "JSONExtractString({j}, \x01s\x02)",
                "arrayJoin(splitByChar(',', {c}))",
                "dateDiff(\x01u\x02, {d}, now())",
                "multiIf({n} < \x01i\x02, \x01s\x02, {n} < \x01i\x02, \x01s\x02, \x01s\x02)",
            ),
            aggregates=(
                "uniqExact({i})",
                "countIf({n} > \x01i\x02)",
                "quantile(0.95)({n})",
                "argMax({c}, {d})",
                "groupArray({c})",
                "sumIf({n}, {c} = \x01s\x02)",
            ),
            conditions=(
                "has(splitByChar(',', {c}), \x01s\x02)",
                "{d} >= toDateTime(\x01t\x02)",
                "match({c}, \x01s\x02)",
            ),
            sources=(" FINAL", " ARRAY JOIN {j} AS item"),
            tails=("SETTINGS max_threads = \x01n\x02", "LIMIT \x01n\x02 BY {c}"),
        ),
    }
)
