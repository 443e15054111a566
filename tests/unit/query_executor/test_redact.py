"""Secrets are found in what leaves, in every form that a server would give them."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query_executor.redact import REDACTED, Redactor, forms

SECRET = 's3cr"et\\ é/+'
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def redacted(rows: list[dict[str, Any]], *secrets: str) -> Any:
    """As the collector does it."""
    dumped = orjson.dumps(rows, option=orjson.OPT_UTC_Z)
    return orjson.loads(Redactor.of(secrets).rows(rows, dumped) or dumped)


@given(TEXT.filter(lambda text: len(text) >= 6), TEXT, TEXT)
def test_no_form_of_a_secret_leaves(secret: str, before: str, behind: str) -> None:
    raw = (before + secret + behind).encode()
    cells = {
        "plain": before + secret + behind,
        "hex": raw.hex(),
        "base64": base64.b64encode(raw).decode(),
        "urlsafe": base64.urlsafe_b64encode(raw).decode(),
        "json": orjson.dumps({"k": secret}).decode(),
        "list": [secret, {"deep": secret}],
    }
    for name, cell in cells.items():
        (row,) = redacted([{name: cell}], secret)
        assert REDACTED in str(row[name]), name
    assert secret not in str(redacted([{"plain": cells["plain"]}], secret)) or secret in REDACTED


def test_the_rest_of_a_row_stays() -> None:
    rows = [{"a": f"<{SECRET}>", "b": 5, "c": None}, {"a": "other", "b": 2.5, "c": True}]
    assert redacted(rows, SECRET) == [{"a": "<[redacted]>", "b": 5, "c": None}, rows[1]]


def test_numbers_that_show_a_secret_are_replaced_whole() -> None:
    assert redacted([{"n": 91234567, "m": 5}], "123456") == [{"n": REDACTED, "m": 5}]


def test_names_of_columns_are_looked_at() -> None:
    assert redacted([{"my-secret-word": 1}], "my-secret-word") == [{REDACTED: 1}]


def test_rows_without_a_secret_are_not_written_again() -> None:
    rows = [{"a": "nothing"}]
    assert Redactor.of([SECRET]).rows(rows, orjson.dumps(rows)) is None


@pytest.mark.parametrize("secret", ["", "12345"])
def test_short_secrets_are_not_looked_for(secret: str) -> None:
    assert redacted([{"a": "12345"}], secret) == [{"a": "12345"}]
    assert Redactor.of([secret]).in_text("12345") == "12345"


def test_texts_of_errors() -> None:
    redactor = Redactor.of([SECRET, "another-one"])
    assert redactor.in_text(f"near {SECRET} and another-one") == f"near {REDACTED} and {REDACTED}"
    assert redactor.value({"k": [SECRET, 1]}) == {"k": [REDACTED, 1]}


def test_nothing_of_a_redactor_shows() -> None:
    assert SECRET not in repr(Redactor.of([SECRET]))
    assert SECRET in forms(SECRET)
