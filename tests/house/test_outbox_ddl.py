"""Every schema has the outbox that libs/common/outbox.py works with."""

from pathlib import Path

import pytest

from libs.common.outbox import DDL, WAKE_DDL

SERVICES = Path(__file__).parents[2] / "services"


def words(text: str) -> str:
    return " ".join(text.split())


def migrations(name: str) -> dict[str, str]:
    return {path.parts[-3]: words(path.read_text()) for path in SERVICES.glob(f"*/migrations/{name}")}


@pytest.mark.parametrize(("name", "wanted"), [("*_outbox.sql", DDL), ("*_outbox_wake.sql", WAKE_DDL)])
def test_the_outbox_is_the_same_in_every_schema(name: str, wanted: str) -> None:
    found = migrations(name)
    assert found.keys() == migrations("*_outbox.sql").keys() != set()
    for schema, text in found.items():
        assert words(wanted) in text, schema
