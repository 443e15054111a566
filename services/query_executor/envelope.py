"""The shapes of answers: `{status, message, data, total, execution_key}`, and the one of errors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

RETRIEVED: Final = "Data retrieved successfully"
EXECUTED: Final = "Query executed successfully"
OPTIONS: Final = orjson.OPT_UTC_Z


def success(message: str, **more: object) -> dict[str, object]:
    """A body without rows; `more` is `data` and `total` where there are any."""
    return {"status": "success", "message": message, **more}


def failure(
    code: str,
    message: str,
    errors: Mapping[str, Sequence[str]] | None = None,
    details: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """A body of an error; `errors` by field of the request."""
    return {"status": "error", "code": code, "message": message, "errors": errors or {}, "details": details or {}}


def executed(chunks: Iterable[bytes], *, total: int, **facts: object) -> list[bytes]:
    """The body of an execution, in pieces, from rows that are JSON already: each chunk is objects joined by commas."""
    pieces = [orjson.dumps(success(EXECUTED))[:-1], b',"data":[']
    for chunk in chunks:
        if chunk:
            pieces += [b",", chunk] if len(pieces) > 2 else [chunk]
    return [*pieces, b"],", orjson.dumps({"total": total, **facts}, option=OPTIONS)[1:]]


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Column names as keys of an object: one that repeats gets a number."""
    seen: set[str] = set()
    wanted, distinct = set(names), list[str]()
    for name in names:
        unique, number = name, 1
        while unique in seen or (number > 1 and unique in wanted):
            number += 1
            unique = f"{name}_{number}"
        seen.add(unique)
        distinct.append(unique)
    return tuple(distinct)


def objects(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as objects."""
    return [dict(zip(names, row, strict=True)) for row in rows]


def code_name(code: str) -> str:
    """A code as this API spells it: `not_found` is NotFound."""
    return code if code[:1].isupper() else "".join(word.capitalize() for word in code.split("_"))
