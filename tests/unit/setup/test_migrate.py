"""The URL that migrations run with."""

from urllib.parse import parse_qs, urlsplit

import pytest

from deploy.setup.bootstrap import database_of, with_database
from deploy.setup.migrate import migration_url


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgresql://admin:pw@127.0.0.1:5432/tidemark", "disable"),
        ("postgresql://admin:pw@127.0.0.1:5432/tidemark?sslmode=require", "require"),
        ("postgresql://admin:pw@db.example.com/tidemark?sslmode=verify-full", "verify-full"),
        ("postgresql://admin:pw@db.example.com/tidemark", None),
    ],
)
def test_acts_as_the_owner_of_the_schema(url: str, sslmode: str | None) -> None:
    query = {key: value[0] for key, value in parse_qs(urlsplit(migration_url(url, "log_miner")).query).items()}
    assert query.get("sslmode") == sslmode
    assert (query["role"], query["search_path"]) == ("log_miner_owner", "log_miner")


def test_database_of_a_url() -> None:
    assert database_of("postgresql://a:b@c/d?sslmode=require") == "d"
    assert with_database("postgresql://a:b@c/d?sslmode=require", "e") == "postgresql://a:b@c/e?sslmode=require"
