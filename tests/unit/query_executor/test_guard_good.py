"""No false alarms: what analysts write passes the guard."""

from pathlib import Path

import pytest

from services.query_executor.guard import Policy, prove
from services.query_executor.statement import Draft, Engine

CASES = Path(__file__).parent / "guard_cases"
TENANT = Policy(tenant_tables=frozenset({"app_orders", "usage", "Mixed Case"}))


def statements(name: str) -> list[str]:
    """The paragraphs of a file, each a statement."""
    return [part.strip("\n") for part in (CASES / f"{name}.txt").read_text().split("\n\n") if part.strip()]


SQL = [engine for engine in Engine if engine is not Engine.ELASTICSEARCH]
GOOD = [(engine, text) for engine in SQL for text in statements(f"good_{engine.value}")]


def policy(engine: Engine) -> Policy:
    return TENANT if engine is Engine.INTERNAL else Policy()


@pytest.mark.parametrize(("engine", "text"), GOOD)
def test_what_only_reads_passes(engine: Engine, text: str) -> None:
    prove(Draft(engine, text, ()), policy(engine))
