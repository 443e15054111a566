"""The tables of Postgres itself, which hide tables of the same name in every schema of the search path."""

import re
from typing import Final

_POSTGRES: Final = ("pg_",)
_REDSHIFT: Final = ("pg_", "stl_", "svl_", "svv_", "stv_", "svcs_")
# Views and tables that extensions put into an ordinary schema in spite of their prefix.
_EXTENSIONS: Final = re.compile(
    r"pg_(?:stat_(?:statements(?:_info)?|monitor\w*|kcache\w*)|qualstats\w*|wait_sampling\w*|buffercache\w*|repack\w*)"
)


def is_system_table(name: str, *, redshift: bool) -> bool:
    """Whether an unqualified, folded name belongs to `pg_catalog`."""
    return name.startswith(_REDSHIFT if redshift else _POSTGRES) and not _EXTENSIONS.fullmatch(name)
