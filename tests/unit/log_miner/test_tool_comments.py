"""Users that BI tools write into their SQL."""

import pytest

from services.log_miner.tool_comments import commented_user


@pytest.mark.parametrize(
    ("comment", "user"),
    [
        ("Metabase:: userID: 5 queryType: native queryHash: 0a1b", "metabase:5"),
        ("""Looker Query Context '{"user_id":12,"history_slug":"x","instance_slug":"y"}'""", "looker:12"),
        ('Hex query metadata: {"categories": ["a"], "user_email": "ada@example.com"}', "ada@example.com"),
        ('{"user":"@ada","email":"ada@example.com","url":"https://app.mode.com","scheduled":false}', "ada@example.com"),
        ("Username: ada@example.com, Query ID: 3, Queue: queries, Job ID: 1", "ada@example.com"),
        ("[SQL LAB] ada 2026-11-21", "ada"),
        ("user: ada", "ada"),
        ("app='x', user='ada.l@example.com'", "ada.l@example.com"),
        ("nothing to see", None),
        ("superuser only", None),
        ("user: " + "x" * 400, None),
        ("", None),
        (None, None),
    ],
)
def test_commented_users(comment: str | None, user: str | None) -> None:
    assert commented_user(comment) == user
