"""Which settings a user may be sent: the server says it, once for each version of a secret."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.query_executor.drivers import Limits
from services.query_executor.drivers.network_errors import connector_error

# Nothing of a caller ever becomes one of these keys.
_FIXED: Final = {
    "readonly": "1",
    "timeout_overflow_mode": "throw",
    "result_overflow_mode": "break",
    "cancel_http_readonly_queries_on_client_close": "1",
    "log_comment": "tidemark-query",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "0",
    "output_format_json_named_tuples_as_objects": "1",
    "date_time_output_format": "simple",
}
_LIMITED: Final = ("max_execution_time", "max_result_rows")
_NAMES: Final = ", ".join(f"'{name}'" for name in (*_FIXED, *_LIMITED))
PROBE: Final = f"SELECT * FROM system.settings WHERE name IN ({_NAMES}) FORMAT JSONEachRow"  # noqa: S608 - our own names


@dataclass(frozen=True, slots=True)
class Settings:
    """`locked`: the user's own profile is read-only and takes none. `most`: upper limits that a profile sets."""

    locked: bool
    names: frozenset[str]
    most: Mapping[str, float]

    @classmethod
    def read(cls, answer: bytes) -> "Settings":
        """From the probe's answer. Raises ConnectorError for a user whom no setting can make read-only."""
        rows = {row["name"]: row for row in map(orjson.loads, answer.splitlines()) if row}
        readonly = rows.get("readonly", {})
        if str(readonly.get("value")) == "2" or (_fixed(readonly) and str(readonly.get("value")) != "1"):
            message = "The user's profile lets queries change settings (readonly = 2): give it readonly 0 or 1."
            raise connector_error("not_read_only", message)
        most = {name: row["max"] for name, row in rows.items() if row.get("max") not in (None, "")}
        names = frozenset(name for name, row in rows.items() if not _fixed(row))
        return cls(str(readonly.get("value")) == "1", names, {name: float(value) for name, value in most.items()})

    def query(self, limits: Limits) -> dict[str, str]:
        """Keys of the address of one statement."""
        if self.locked:
            return {}
        wanted = _FIXED | {
            "max_execution_time": str(self._within("max_execution_time", math.ceil(limits.seconds))),
            "max_result_rows": str(self._within("max_result_rows", limits.rows + 1)),
        }
        return {name: value for name, value in wanted.items() if name in self.names}

    def _within(self, name: str, value: int) -> int:
        most = self.most.get(name)
        return value if not most else min(value, int(most))


def _fixed(row: Mapping[str, Any]) -> bool:
    """Whether a constraint forbids to change a setting; old servers have no such column."""
    return bool(int(row.get("readonly", 0)))
