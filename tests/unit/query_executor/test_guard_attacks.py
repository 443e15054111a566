"""Everything that does more than read is refused, with the other layers off: the guard has no server here."""

import pytest

from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import prove
from services.query_executor.statement import Draft, Engine
from tests.unit.query_executor.test_guard_good import GOOD, SQL, policy, statements

ATTACKS = [(engine, text) for engine in SQL for text in statements(f"attack_{engine.value}")]


def refusal(engine: Engine, text: str) -> str:
    with pytest.raises(QueryValidationError) as caught:
        prove(Draft(engine, text, ()), policy(engine))
    assert list(caught.value.errors) == ["query_text"]
    return caught.value.detail


@pytest.mark.parametrize(("engine", "text"), ATTACKS)
def test_an_attack_is_refused(engine: Engine, text: str) -> None:
    assert refusal(engine, text)


def test_figures() -> None:
    refused = sum(isinstance(outcome(engine, text), str) for engine, text in ATTACKS)
    passed = sum(not isinstance(outcome(engine, text), str) for engine, text in GOOD)
    print(f"GUARD refused={refused} of={len(ATTACKS)} passed={passed} of={len(GOOD)}")
    assert len(ATTACKS) >= 250
    assert len(GOOD) >= 250


def outcome(engine: Engine, text: str) -> object:
    try:
        return prove(Draft(engine, text, ()), policy(engine))
    except QueryValidationError as error:
        return error.detail
