"""What ClickHouse says, as one of the API's codes; never a value of the statement.

A server writes parameters into the expressions of its messages, so only the beginning of few of them is passed on.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from libs.common.errors import TidemarkError
from services.query_executor.drivers.budget import timed_out
from services.query_executor.drivers.network_errors import connector_error
from services.query_executor.errors import QueryExecutionError
from services.query_executor.statement import Bind

_CODE: Final = re.compile(r"Code:\s*(\d+)")
_REASON: Final = re.compile(r"DB::Exception:\s*(.*)", re.DOTALL)
# What follows is the statement with its values.
_ASIDE: Final = re.compile(
    r"\s+in scope\b|\s*:\s*[Ww]hile |\s+In scope\b|,\s*e\.what\(\)|\s*\(version |\s*\. \([A-Z_]+\)"
)
_CONNECTING: Final = {
    81: ("unknown_database", "The server has no such database."),
    192: ("wrong_password", "The server refuses the user or the password of the secret."),
    193: ("wrong_password", "The server refuses the user or the password of the secret."),
    194: ("wrong_password", "The server refuses the user or the password of the secret."),
    195: ("login_refused", "The server lets nobody in from this host."),
    516: ("wrong_password", "The server refuses the user or the password of the secret."),
}
_TIMED_OUT: Final = frozenset({159, 160})
_MEANINGS: Final = {
    6: "A value is not of the type that its place in the query needs.",
    26: "A value is not of the type that its place in the query needs.",
    27: "A value is not of the type that its place in the query needs.",
    38: "A date has a form that its place in the query does not understand.",
    41: "A date or time has a form that its place in the query does not understand.",
    42: "A function of the query has the wrong number of arguments.",
    43: "A function of the query does not take an argument of this type.",
    53: "A value is not of the type that its place in the query needs.",
    72: "A value is not of the type that its place in the query needs.",
    153: "Division by zero.",
    164: "The statement writes or changes a setting, and queries are read-only.",
    202: "The server is busy: too many queries run.",
    241: "The query needs more memory than the server grants it.",
    291: "The user of the secret may not use this database.",
    386: "The query mixes types that have no common one.",
    394: "The query was stopped on the server.",
    396: "The result is larger than the server allows.",
    452: "The server does not let the secret's user change a setting that queries need.",
    457: "A value is not of the type that its place in the query needs.",
    497: "The user of the secret lacks a right on what the query reads.",
}
# Grammar and names.
_PASSED_ON: Final = frozenset({10, 16, 36, 46, 47, 60, 62, 63, 184, 207, 215, 352, 403})
_LONGEST: Final = 300


def named(said: str, header: str | None, binds: Sequence[Bind], seconds: float) -> TidemarkError:
    """The error that a server's text means."""
    found = _CODE.search(said)
    code = int(header) if header and header.isdigit() else int(found[1]) if found else 0
    if code in _TIMED_OUT:
        return timed_out(seconds)
    if code in _CONNECTING:
        return connector_error(*_CONNECTING[code])
    if code == 0:
        return connector_error("not_clickhouse", "What answers at the secret's host is no ClickHouse.")
    return QueryExecutionError(_message(code, said, binds), details={"code": code})


def _message(code: int, said: str, binds: Sequence[Bind]) -> str:
    known = _MEANINGS.get(code)
    reason = _REASON.search(said)
    if known is not None or reason is None or code not in _PASSED_ON:
        return known or f"The query failed on the server (code {code})."
    text = _ASIDE.split(reason[1].strip(), maxsplit=1)[0][:_LONGEST]
    if any(_shown(bind.value) in text for bind in binds if _shown(bind.value)):
        return f"The query failed on the server (code {code})."
    return f"The server refuses the query: {text}"


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
