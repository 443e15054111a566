"""The tables of the database itself. Postgres' hide tables of the same name in every schema of the search path."""

import re
from collections.abc import Sequence
from typing import Final

_CATALOG_SCHEMAS: Final = frozenset({"pg_catalog", "information_schema", "pg_toast"})
_POSTGRES: Final = ("pg_",)
_REDSHIFT: Final = ("pg_", "stl_", "svl_", "svv_", "stv_", "svcs_")
# Views and tables that extensions put into an ordinary schema in spite of their prefix.
_EXTENSIONS: Final = re.compile(
    r"pg_(?:stat_(?:statements(?:_info)?|monitor\w*|kcache\w*)|qualstats\w*|wait_sampling\w*|buffercache\w*|repack\w*)"
)


def is_system_table(name: str, *, redshift: bool) -> bool:
    """Whether an unqualified, folded name belongs to `pg_catalog`."""
    return name.startswith(_REDSHIFT if redshift else _POSTGRES) and not _EXTENSIONS.fullmatch(name)


def is_catalog(parts: Sequence[str]) -> bool:
    """Whether a completed name is one of the database's own tables, in any dialect."""
    return len(parts) > 1 and parts[-2].lower() in _CATALOG_SCHEMAS
