"""The tables that a parsed statement names: read or written, never CTEs, functions or aliases."""

from collections.abc import Iterator
from typing import Final

from sqlglot import exp

from libs.common.sql.dialects import Dialect
from libs.common.sql.names import DefaultNames, Identifier, TableName, complete, fold
from libs.common.sql.parse import Parsed

Hidden = frozenset[str]

_TABLE_KINDS: Final = frozenset(
    {"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "EXTERNAL TABLE", "INDEX", "COLUMN"}
)


_WITH_RULES: Final = frozenset(
    {exp.Lock, exp.Use, exp.Into, exp.Grant, exp.Revoke, exp.Create, exp.Drop, exp.Comment, exp.Alter, exp.AlterRename}
    | {exp.Delete, exp.Update, exp.Insert, exp.Merge, exp.With}
)


# Neither these nor what they hold is a table, nor has rules.
_LEAVES: Final = frozenset({exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Placeholder})


def tables_of(parsed: Parsed, names: DefaultNames, dialect: Dialect) -> Iterator[TableName | None]:
    """Every real table that one statement names; a CTE hides a table only within its own scope."""
    if _WITH_RULES.isdisjoint(map(type, parsed.nodes)):
        for node in parsed.nodes:
            if isinstance(node, exp.Table):
                yield real_table(node, frozenset(), names, dialect)
    else:
        yield from _by_rules(parsed.tree, names, dialect)


def _by_rules(tree: exp.Expr, names: DefaultNames, dialect: Dialect) -> Iterator[TableName | None]:
    stack: list[tuple[exp.Expr, Hidden]] = [(tree, frozenset())]
    skipped: set[int] = set()
    targets: set[int] = set()
    while stack:
        node, hidden = stack.pop()
        kind = type(node)
        if kind in _LEAVES or id(node) in skipped:
            continue
        if kind in _WITH_RULES:
            skipped.update(id(other) for other in _not_tables(node, dialect))
            targets.update(id(target) for target in _targets(node, dialect))
        if isinstance(node, exp.Table):
            yield real_table(node, frozenset() if id(node) in targets else hidden, names, dialect)
        elif isinstance(node, exp.Comment) and isinstance(node.this, exp.Column):
            yield _of_column(node.this, names, dialect)
        if node.args.get("with_"):
            stack.extend(_children(node, hidden, dialect))
        else:
            stack.extend([(child, hidden) for child in node.iter_expressions()])


def _of_column(column: exp.Column, names: DefaultNames, dialect: Dialect) -> TableName | None:
    """The table in `COMMENT ON COLUMN sales.orders.total`."""
    parts = [Identifier(part.name, bool(part.args.get("quoted"))) for part in column.parts[:-1]]
    return complete(parts, names, dialect)


def real_table(node: exp.Table, hidden: Hidden, names: DefaultNames, dialect: Dialect) -> TableName | None:
    """The full name behind a table node; None for a CTE, a function, a stage or a temporary table."""
    written = written_parts(node, dialect)
    if not written:
        return None
    if len(written) == 1 and fold(written[0].text, written[0].quoted, dialect) in hidden:
        return None
    return complete(written, names, dialect)


def written_parts(node: exp.Table, dialect: Dialect) -> list[Identifier]:
    """A table's name as written, part by part; empty when the node names no table."""
    this = node.this
    if isinstance(this, exp.DynamicIdentifier):
        return _of_literal(this)
    if isinstance(this, exp.Identifier) and this.args.get("temporary"):
        return []
    found: list[Identifier] = []
    for part in (node.args.get(key) for key in ("catalog", "db", "this")):
        if isinstance(part, exp.Dot):
            found += [Identifier(piece.name, bool(piece.args.get("quoted"))) for piece in part.flatten()]
        elif isinstance(part, exp.Identifier):
            found.append(Identifier(part.this, bool(part.args.get("quoted"))))
        elif part:
            return []
    if node.args.get("catalog") and not node.args.get("db"):
        found.insert(1, Identifier("", False))
    if dialect is Dialect.BIGQUERY:
        found = [Identifier(piece, part.quoted) for part in found for piece in part.text.split(".")]
    return found


def _of_literal(node: exp.Expr) -> list[Identifier]:
    """Snowflake's IDENTIFIER('db.schema.orders')."""
    literal = node.this
    if not isinstance(literal, exp.Literal) or not literal.is_string:
        return []
    return [Identifier(part.strip('"'), part.startswith('"')) for part in str(literal.this).split(".")]


def _children(node: exp.Expr, hidden: Hidden, dialect: Dialect) -> Iterator[tuple[exp.Expr, Hidden]]:
    inner = hidden
    clause = node.args.get("with_")
    if isinstance(clause, exp.With):
        for cte, visible in cte_scopes(clause, hidden, dialect):
            yield cte, visible
            inner = inner | {cte_name(cte, dialect)}
    for child in node.iter_expressions():
        if child is not clause:
            yield child, inner


def cte_scopes(clause: exp.With, hidden: Hidden, dialect: Dialect) -> Iterator[tuple[exp.CTE, Hidden]]:
    """Each CTE with the names that hide tables inside it: earlier ones; in a recursive WITH all."""
    ctes = [cte for cte in clause.expressions if isinstance(cte, exp.CTE)]
    every = frozenset(cte_name(cte, dialect) for cte in ctes)
    seen = hidden
    for cte in ctes:
        yield cte, hidden | every if clause.args.get("recursive") else seen
        seen = seen | {cte_name(cte, dialect)}


def cte_name(cte: exp.CTE, dialect: Dialect) -> str:
    alias = cte.args.get("alias")
    name = alias.this if isinstance(alias, exp.TableAlias) else None
    return fold(name.this, bool(name.args.get("quoted")), dialect) if isinstance(name, exp.Identifier) else ""


def _targets(node: exp.Expr, dialect: Dialect) -> list[exp.Expr]:
    """What a statement writes to: no CTE hides it, except in T-SQL, where one writes through a CTE."""
    if dialect is Dialect.TSQL or not isinstance(node, exp.Insert | exp.Update | exp.Delete | exp.Merge):
        return []
    return [node.this.this if isinstance(node.this, exp.Schema) else node.this]


def _not_tables(node: exp.Expr, dialect: Dialect) -> list[exp.Expr]:
    """Children that hold a name in the shape of a table which is none."""
    match node:
        case exp.Lock():
            return list(node.expressions)
        case exp.Use():
            return [node.this] if node.this else []
        case exp.Into() if node.args.get("temporary"):
            return [node.this]
        case exp.Grant() | exp.Revoke() if str(node.args.get("kind") or "TABLE").upper() not in _TABLE_KINDS:
            return [node.args["securable"]]
        case exp.Create() | exp.Drop():
            return _targets_that_are_no_tables(node)
        case exp.Comment() | exp.Alter() if str(node.args.get("kind", "TABLE")).upper() not in _TABLE_KINDS:
            return [node.this]
        case exp.AlterRename():
            return [node.this]
        case exp.Delete():
            return _aliases_among(node, node.args.get("tables") or [], dialect)
        case exp.Update() if dialect is Dialect.TSQL:
            return _aliases_among(node, [node.this], dialect)
    return []


def _targets_that_are_no_tables(node: exp.Create | exp.Drop) -> list[exp.Expr]:
    kind = str(node.args.get("kind") or "").upper()
    if isinstance(node, exp.Drop):
        return [] if kind in _TABLE_KINDS - {"INDEX"} else list(node.iter_expressions())
    properties = node.args.get("properties")
    temporary = isinstance(properties, exp.Properties) and properties.find(exp.TemporaryProperty) is not None
    if kind in _TABLE_KINDS and not temporary:
        return []
    target = node.this
    return [target.this if isinstance(target, exp.Schema) else target]


def _aliases_among(node: exp.Expr, targets: list[exp.Expr], dialect: Dialect) -> list[exp.Expr]:
    """Targets that only repeat an alias of the statement's own FROM: `DELETE o FROM orders AS o`."""
    own = {id(target) for target in targets}
    aliases = {
        fold(table.alias, False, dialect) for table in node.find_all(exp.Table) if table.alias and id(table) not in own
    }
    named = {table.name for table in node.find_all(exp.Table) if id(table) not in own}
    return [
        target
        for target in targets
        if isinstance(target, exp.Table) and not target.db and (fold(target.name, False, dialect) in aliases | named)
    ]
