"""How a rule says no: one field, one sentence, what to do, and where in the author's text."""

from typing import Final

from services.query_executor.errors import QueryValidationError, invalid

FIELD: Final = "query_text"


def refused(message: str) -> QueryValidationError:
    """A statement that may not run. `message` names the operation and the remedy, never a value."""
    return invalid(FIELD, message)


def place(text: str, offset: int) -> str:
    """`line 2, column 7`, both from one."""
    before = text[:offset]
    return f"line {before.count(chr(10)) + 1}, column {offset - before.rfind(chr(10))}"
