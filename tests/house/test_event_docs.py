from pathlib import Path

from libs.common.event_docs import DOCS, MODELS, broken, documents, schema, schema_name, stale
from libs.common.events import BiQueryScraped
from libs.common.topics import ALL_TOPICS


def test_generated_documents_are_fresh() -> None:
    assert stale() == [], "run `python -m libs.common.event_docs`"


def test_no_schema_changes_incompatibly() -> None:
    assert broken() == [], "breaks messages of today; if that is meant: `python -m libs.common.event_docs --breaking`"


def test_every_topic_has_its_events() -> None:
    assert set(MODELS) == set(ALL_TOPICS)


def test_a_committed_schema_that_allowed_more_is_noticed(tmp_path: Path) -> None:
    name = f"schemas/{schema_name(BiQueryScraped)}.json"
    old = documents()[name].replace('"sql_text"', '"sql_statement"')
    (tmp_path / "schemas").mkdir()
    (tmp_path / name).write_text(old)
    assert broken(tmp_path) == ["bi_query_scraped: sql_statement: removed"]
    assert name in stale(tmp_path)
    assert "sql_text" in schema(BiQueryScraped)["properties"]
    assert DOCS.name == "events"
