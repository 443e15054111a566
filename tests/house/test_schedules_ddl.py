"""Every schema that keeps schedules has the tables that libs/common/schedules.py works with."""

from pathlib import Path

from libs.common.schedules import DDL

MIGRATIONS = sorted((Path(__file__).parents[2] / "services").glob("*/migrations/*_schedules.sql"))


def words(text: str) -> str:
    return " ".join(text.split())


def test_schedules_are_the_same_in_every_schema() -> None:
    assert MIGRATIONS
    for path in MIGRATIONS:
        assert words(DDL) in words(path.read_text()), path
