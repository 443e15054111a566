"""Postgres' own parser as a second opinion: whatever passes calls and reads nothing that the proof does not name."""

import random
from typing import Any

import pytest
from pglast import ast, parse_sql, parser
from pglast.visitors import Visitor

from services.query_executor.errors import QueryValidationError
from services.query_executor.guard import Proof, prove
from services.query_executor.statement import Draft, Engine
from tests.unit.query_executor.test_guard_attacks import ATTACKS
from tests.unit.query_executor.test_guard_good import GOOD, policy

POSTGRES = (Engine.POSTGRES, Engine.INTERNAL)
READING = (ast.SelectStmt, ast.ExplainStmt, ast.VariableShowStmt)
# Postgres' parser makes these of its own syntax: EXTRACT, TRIM, OVERLAY, AT TIME ZONE, OVERLAPS, SIMILAR TO …
SYNTAX = {"btrim", "ltrim", "rtrim", "timezone", "overlaps", "similar_to_escape", "like_escape", "xmlexists"}


class Seen(Visitor):
    """Functions, relations and CTEs of a statement, and whether it locks, writes or stores."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: set[str] = set()
        self.tables: set[tuple[str, ...]] = set()
        self.ctes: set[str] = set()
        self.changes = False

    def visit_FuncCall(self, ancestors: Any, node: ast.FuncCall) -> None:
        name = ".".join(part.sval for part in node.funcname or ()).removeprefix("pg_catalog.")
        self.functions.add(name)

    def visit_RangeVar(self, ancestors: Any, node: ast.RangeVar) -> None:
        self.tables.add(tuple(part for part in (node.catalogname, node.schemaname, node.relname) if part))

    def visit_CommonTableExpr(self, ancestors: Any, node: ast.CommonTableExpr) -> None:
        self.ctes.add(node.ctename or "")

    def _changes(self, ancestors: Any, node: Any) -> None:
        self.changes = True

    visit_LockingClause = visit_IntoClause = visit_InsertStmt = _changes
    visit_UpdateStmt = visit_DeleteStmt = visit_MergeStmt = _changes


def seen(text: str) -> Seen:
    (statement,) = parse_sql(text)
    assert isinstance(statement.stmt, READING)
    visitor = Seen()
    visitor(statement)
    return visitor


def agree(text: str, proof: Proof) -> None:
    found = seen(text)
    assert not found.changes
    assert {name for name in found.functions if name not in SYNTAX} <= set(proof.names)
    assert {table for table in found.tables if table[-1] not in found.ctes or len(table) > 1} <= folded(proof)


def folded(proof: Proof) -> set[tuple[str, ...]]:
    """As written, and folded to lower case, which is how the other parser gives unquoted names."""
    return set(proof.tables) | {tuple(part.lower() for part in table) for table in proof.tables}


@pytest.mark.parametrize(("engine", "text"), [(engine, text) for engine, text in GOOD if engine in POSTGRES])
def test_the_parsers_agree_on_what_passes(engine: Engine, text: str) -> None:
    agree(text, prove(Draft(engine, text, ()), policy(engine)))


def test_figures() -> None:
    """Of the attacks, these are statements that Postgres would run, so that refusing them is worth something."""
    attacks = [text for engine, text in ATTACKS if engine in POSTGRES]
    real = sum(parses(text) for text in attacks)
    print(f"GUARD_ORACLE attacks={len(attacks)} parsed_by_postgres={real}")
    assert real > 250


def parses(text: str) -> bool:
    try:
        parse_sql(text)
    except parser.ParseError:
        return False
    return True


PIECES = (
    "select", "1", "a", "t", "u", "from", "where", "(", ")", ",", "union all", "join", "on true", "as", "lower(a)",
    "'x'", "with x as (", "x", "and", "=", "::int", "exists (", "order by", "limit 1", "lateral (", "values (1)",
    "array[", "]", "case when a then 1 end", "for update", "into y", "pg_sleep(1)", "pg_authid", '"q"', "--c\n",
    "/*c*/", ".", "*", "$$z$$", "e'\\''", "delete from t", "returning 1", "; select 2", "table t", "not", "is null",
    "cast(a as text)",
)  # fmt: skip


@pytest.mark.corpus
def test_random_statements_never_pass_with_more_than_is_proved() -> None:
    chance, passed = random.Random(7), 0  # noqa: S311
    for _ in range(20_000):
        text = "select " + " ".join(chance.choices(PIECES, k=chance.randint(1, 12)))
        try:
            proof = prove(Draft(Engine.POSTGRES, text, ()), policy(Engine.POSTGRES))
        except QueryValidationError:
            continue
        if parses(text):
            passed += 1
            agree(text, proof)
    print(f"GUARD_RANDOM statements=20000 passed_and_checked={passed}")
    assert passed > 100
