"""The tables of a Postgres statement by Postgres' own parser: what our tables are held against."""

from collections.abc import Iterator
from typing import Any

import pglast
from pglast import ast
from pglast.enums import ObjectType

Name = tuple[str, ...]

_WITH_A_TARGET = (ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)
_RELATIONS = {
    ObjectType.OBJECT_TABLE,
    ObjectType.OBJECT_VIEW,
    ObjectType.OBJECT_MATVIEW,
    ObjectType.OBJECT_FOREIGN_TABLE,
    ObjectType.OBJECT_COLUMN,
    ObjectType.OBJECT_TABCONSTRAINT,
    ObjectType.OBJECT_TRIGGER,
    ObjectType.OBJECT_POLICY,
    ObjectType.OBJECT_RULE,
}


def tables_by_postgres(sql: str) -> set[Name] | None:
    """The tables that a statement names, as written (1 to 3 parts); None where Postgres refuses it."""
    try:
        statements = pglast.parse_sql(sql)
    except Exception:  # pglast raises more than its own error on odd bytes
        return None
    return {name for raw in statements for name in _walk(raw.stmt, frozenset())}


def _walk(node: Any, hidden: frozenset[str]) -> Iterator[Name]:
    if isinstance(node, tuple):
        for item in node:
            yield from _walk(item, hidden)
        return
    if not isinstance(node, ast.Node):
        return
    if isinstance(node, ast.RangeVar):
        yield from _relation(node, hidden)
        return
    skipped = _skipped(node)
    clause = getattr(node, "withClause", None)
    inner = hidden
    if clause is not None:
        every = hidden | {cte.ctename for cte in clause.ctes}
        for cte in clause.ctes:
            yield from _walk(cte, every if clause.recursive else inner)
            inner = inner | {cte.ctename}
    if isinstance(node, ast.DropStmt) and node.removeType in _RELATIONS:
        dropped = node.removeType in {ObjectType.OBJECT_TRIGGER, ObjectType.OBJECT_POLICY, ObjectType.OBJECT_RULE}
        for item in node.objects or ():
            yield _strings(item)[: -1 if dropped else None]
    if isinstance(node, ast.CommentStmt | ast.SecLabelStmt) and node.objtype in _RELATIONS:
        named = node.objtype in {ObjectType.OBJECT_TABLE, ObjectType.OBJECT_VIEW, ObjectType.OBJECT_MATVIEW}
        yield _strings(node.object)[: None if named else -1]
    for slot in node:
        value = getattr(node, slot)
        if value is clause or slot in skipped or (isinstance(node, ast.DropStmt) and slot == "objects"):
            continue
        yield from _walk(value, frozenset() if isinstance(node, _WITH_A_TARGET) and slot == "relation" else inner)


def _strings(parts: Any) -> Name:
    return tuple(part.sval for part in parts)


def _relation(node: ast.RangeVar, hidden: frozenset[str]) -> Iterator[Name]:
    name = tuple(part for part in (node.catalogname, node.schemaname, node.relname) if part)
    if (len(name) == 1 and name[0] in hidden) or node.relpersistence == "t":
        return
    if len(name) > 1 and name[-2].startswith("pg_temp"):
        return
    yield name


def _skipped(node: Any) -> frozenset[str]:
    """Slots whose relation is no table: locks repeat aliases, sequences and types are no tables."""
    if isinstance(node, ast.LockingClause):
        return frozenset({"lockedRels"})
    if isinstance(node, ast.CreateSeqStmt | ast.AlterSeqStmt):
        return frozenset({"sequence"})
    if isinstance(node, ast.CompositeTypeStmt):
        return frozenset({"typevar"})
    if isinstance(node, ast.AlterTableStmt) and node.objtype not in _RELATIONS:
        return frozenset({"relation"})
    if isinstance(node, ast.RenameStmt) and node.renameType not in _RELATIONS:
        return frozenset({"relation"})
    return frozenset()
