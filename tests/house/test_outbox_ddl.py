"""Every schema has the outbox that libs/common/outbox.py works with."""

from pathlib import Path

from libs.common.outbox import DDL

MIGRATIONS = sorted((Path(__file__).parents[2] / "services").glob("*/migrations/*outbox*.sql"))


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_outbox_is_the_same_in_every_schema() -> None:
    assert MIGRATIONS
    for path in MIGRATIONS:
        assert words(DDL) in words(path.read_text()), path
