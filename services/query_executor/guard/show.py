"""SHOW and DESCRIBE, each a fixed form with names and at most one pattern; none of them takes an expression."""

import re
from types import MappingProxyType
from typing import Final

from services.query_executor.guard.refusal import refused
from services.query_executor.statement import Engine

_NAME: Final = r"(?:\w+|`\w+`|\"\w+\")"
_TABLE: Final = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_LIKE: Final = r"(?:\s+like\s+'[^'\\]*')?"
_IN: Final = rf"(?:\s+(?:from|in)\s+{_NAME})?"
# What tells of names, versions and formats, nothing of files, hosts, statements or other people.
_SETTINGS: Final = (
    r"server_version(?:_num)?|server_encoding|client_encoding|time\s*zone|timezone|search_path|datestyle|intervalstyle|"
    r"lc_\w+|standard_conforming_strings|transaction\s+isolation\s+level|transaction_isolation|"
    r"transaction_read_only|default_transaction_read_only|statement_timeout|max_connections|integer_datetimes"
)
_MYSQL_SHOW: Final = (
    rf"(?:(?:full\s+)?tables{_IN}{_LIKE}|(?:databases|schemas){_LIKE}|"
    rf"(?:extended\s+)?(?:full\s+)?(?:columns|fields)\s+(?:from|in)\s+{_TABLE}{_IN}{_LIKE}|"
    rf"(?:index|indexes|keys)\s+(?:from|in)\s+{_TABLE}{_IN}|table\s+status{_IN}{_LIKE}|"
    rf"(?:character\s+set|charset|collation){_LIKE}|engines|warnings|errors)"
)
_CLICKHOUSE_SHOW: Final = (
    rf"(?:tables{_IN}{_LIKE}|databases{_LIKE}|(?:full\s+)?columns\s+(?:from|in)\s+{_TABLE}{_IN}{_LIKE}|"
    rf"(?:index|indexes|keys)\s+(?:from|in)\s+{_TABLE}{_IN})"
)
_REDSHIFT_SHOW: Final = (
    rf"(?:{_SETTINGS}|databases{_LIKE}|schemas\s+from\s+database\s+{_NAME}{_LIKE}|"
    rf"tables\s+from\s+schema\s+{_TABLE}{_LIKE}|columns\s+from\s+table\s+{_NAME}(?:\.{_NAME}){{0,2}}{_LIKE})"
)
_FORMS: Final = MappingProxyType(
    {
        Engine.POSTGRES: rf"show\s+(?:{_SETTINGS})",
        Engine.REDSHIFT: rf"show\s+{_REDSHIFT_SHOW}",
        Engine.MYSQL: rf"(?:show\s+{_MYSQL_SHOW}|(?:describe|desc|explain)\s+{_TABLE}(?:\s+{_NAME})?)",
        Engine.CLICKHOUSE: rf"(?:show\s+{_CLICKHOUSE_SHOW}|(?:describe|desc)\s+(?:table\s+)?{_TABLE})",
    }
)
_VERB: Final = re.compile(r"\s*(show|describe|desc|explain)\b", re.IGNORECASE)
_ABOUT: Final = re.compile(
    rf"(?:describe|desc|explain|columns|fields|index|indexes|keys)\b(?:\s+(?:table|from|in)\b)*\s+({_TABLE})(?:\s+(?:from|in)\s+({_NAME}))?",
    re.IGNORECASE,
)
_SCHEMA: Final = re.compile(rf"(?:tables|status)\s+(?:from|in)\s+({_NAME})", re.IGNORECASE)


def is_show(text: str) -> bool:
    """Whether a statement begins as one of these."""
    return bool(_VERB.match(text))


def prove_show(text: str, engine: Engine) -> tuple[tuple[str, ...], ...]:
    """Refuse all but the known forms; the tables that are told of."""
    form = _FORMS.get(engine)
    plain = text.strip().removesuffix(";").strip()
    if form is None or not re.fullmatch(form, plain, re.IGNORECASE | re.ASCII):
        raise refused(
            "This form of SHOW or DESCRIBE is not allowed; those that list tables and columns are, and "
            "information_schema can be queried."
        )
    if about := _ABOUT.search(plain):
        schema = (_bare(about[2]),) if about[2] else ()
        return ((*schema, *(_bare(part) for part in about[1].split("."))),)
    if schema_only := _SCHEMA.search(plain):
        return ((_bare(schema_only[1]), ""),)
    return ()


def _bare(name: str) -> str:
    return name.strip().strip('`"')
