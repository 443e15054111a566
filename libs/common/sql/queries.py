"""Columns of one query, placed scope by scope."""

from collections.abc import Iterable, Iterator, Mapping, Set
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from sqlglot import exp

from libs.common.sql.dialects import TRAITS, Dialect
from libs.common.sql.names import ColumnRef, DefaultNames, fold, fold_case, fold_column
from libs.common.sql.sources import OPAQUE, Scope, Source
from libs.common.sql.tables import cte_name, real_table

Common = Mapping[str, Source]

_NO_FIELDS: Final = frozenset(
    {Dialect.POSTGRES, Dialect.MYSQL, Dialect.MARIADB, Dialect.SQLITE, Dialect.TSQL, Dialect.ORACLE}
)
_PSEUDO: Final = frozenset({"ROWNUM", "ROWID", "SYSDATE", "SYSTIMESTAMP", "LEVEL", "USER", "UID"})
_AFTER_ALIASES: Final = ("order", "group", "having", "qualify", "sort", "cluster", "distribute")
_BEFORE_ALIASES: Final = ("expressions", "distinct", "where", "windows", "limit", "offset")
# Neither these nor what they hold names a column.
_LEAVES: Final = (exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Placeholder)
_NO_NAMES: Final[frozenset[str]] = frozenset()
_NO_NODES: Final[frozenset[int]] = frozenset()


class _Role(Enum):
    """What a walk over expressions does with a thing."""

    LEAF = auto()
    INNER = auto()
    LIST = auto()
    COLUMN = auto()
    QUERY = auto()
    STAR = auto()


_LEAF, _INNER, _LIST, _COLUMN, _QUERY = _Role.LEAF, _Role.INNER, _Role.LIST, _Role.COLUMN, _Role.QUERY
_ROLES: Final[tuple[tuple[type, _Role], ...]] = (
    (exp.Column, _COLUMN),
    (exp.Query, _QUERY),
    (exp.Star, _Role.STAR),
    (exp.Expr, _INNER),
    (list, _LIST),
)


@cache
def _role(kind: type) -> _Role:
    """By class, because there are few and nodes are many. A leaf is neither a node nor a list, or one of `_LEAVES`."""
    if kind in _LEAVES:
        return _LEAF
    return next((role for known, role in _ROLES if issubclass(kind, known)), _LEAF)


class QueryWalk:
    """One pass over one query; recursion follows the nesting of queries, not of expressions."""

    def __init__(self, names: DefaultNames, dialect: Dialect) -> None:
        self.names, self.dialect = names, dialect
        self._case = TRAITS[dialect].columns
        self._folded: dict[tuple[str, bool], str] = {}
        self._no_fields = dialect in _NO_FIELDS
        self._pseudo = _PSEUDO if dialect is Dialect.ORACLE else frozenset()
        self.found: set[ColumnRef] = set()

    def query(self, node: exp.Expr, common: Common, parent: Scope | None) -> Source:
        """Visit a query and say what a query around it can read through it."""
        common = self.common_tables(node, common, parent)
        while isinstance(node, exp.Subquery):
            node = node.this
            common = self.common_tables(node, common, parent)
        if isinstance(node, exp.SetOperation):
            for branch in _branches(node):
                self.query(branch, common, parent)
            return OPAQUE
        return self._select(node, common, parent) if isinstance(node, exp.Select) else OPAQUE

    def common_tables(self, node: exp.Expr, common: Common, parent: Scope | None) -> Common:
        clause = node.args.get("with_")
        if not isinstance(clause, exp.With):
            return common
        recursive = bool(clause.args.get("recursive"))
        ctes = [cte for cte in clause.expressions if isinstance(cte, exp.CTE)]
        seen = {**common, **({cte_name(cte, self.dialect): OPAQUE for cte in ctes} if recursive else {})}
        for cte in ctes:
            source = self.query(cte.this, seen, parent)
            seen[cte_name(cte, self.dialect)] = OPAQUE if cte.args["alias"].columns else source
        return seen

    def _select(self, node: exp.Select, common: Common, parent: Scope | None) -> Source:
        scope = Scope(parent)
        clause = node.args.get("from_")
        joins: list[exp.Expr] = node.args.get("joins") or []
        for item in [clause.this] if clause else []:
            self.source(item, common, scope)
        for join in joins:
            self.join(join, common, scope)
        for lateral in node.args.get("laterals") or []:
            self.source(lateral, common, scope)
        aliases = frozenset(self.column(item.args["alias"]) for item in node.expressions if isinstance(item, exp.Alias))
        get = node.args.get
        self.expressions([get(key) for key in _BEFORE_ALIASES] + scope.conditions, common, scope)
        self.expressions([get(key) for key in _AFTER_ALIASES], common, scope, aliases)
        return self._outcome(node, scope)

    def _outcome(self, node: exp.Select, scope: Scope) -> Source:
        stars = [item for item in node.expressions if item.is_star]
        if len(stars) != 1:
            return OPAQUE
        outputs = frozenset(fold_column(item.alias_or_name, True, self.dialect) for item in node.expressions)
        outputs |= {self.column(i) for i in (_output_name(item) for item in node.expressions) if i is not None}
        table = stars[0].args.get("table")
        source = scope.find(self.name(table)) if table else scope.only()
        return Source(passed_on=source, outputs=outputs)

    def source(self, item: exp.Expr, common: Common, scope: Scope) -> None:
        """Bring what stands in FROM or JOIN into scope."""
        match item:
            case exp.Table():
                source = self.table_source(item, common)
                if not isinstance(item.this, exp.Identifier):
                    self.expressions([item.this], common, scope)
            case exp.Subquery() if isinstance(item.this, exp.Table):
                self.source(item.this, common, scope)
                for join in item.args.get("joins") or []:
                    self.join(join, common, scope)
                return
            case exp.Subquery():
                source = self.query(item, common, scope.parent)
            case exp.Lateral() if isinstance(item.this, exp.Subquery):
                source = self.query(item.this, common, scope)
            case _:
                self.expressions([item], common, scope)
                source = OPAQUE
        alias = item.args.get("alias")
        named = alias.this if isinstance(alias, exp.TableAlias) else None
        if isinstance(alias, exp.TableAlias) and alias.columns:
            source = OPAQUE
        scope.add(
            self.name(named or item.this) if named or isinstance(item, exp.Table) else "",
            self._pivoted(item, source, common),
        )
        for join in item.args.get("joins") or []:
            self.join(join, common, scope)

    def _pivoted(self, item: exp.Expr, source: Source, common: Common) -> Source:
        pivots = item.args.get("pivots")
        if not pivots:
            return source
        inner = Scope()
        inner.add("", source)
        self.expressions(pivots, common, inner)
        return OPAQUE

    def join(self, join: exp.Expr, common: Common, scope: Scope) -> None:
        before = scope.sources()
        self.source(join.this, common, scope)
        scope.conditions.append(join.args.get("on"))
        using = [item for item in join.args.get("using") or [] if isinstance(item, exp.Identifier)]
        sides = scope.sources()[len(before) :] + (before if len(before) == 1 else [])
        for item in using:
            for side in sides:
                self.place(side, self.column(item))

    def table_source(self, node: exp.Expr, common: Common) -> Source:
        if not isinstance(node, exp.Table):
            return OPAQUE
        if not node.args.get("db") and isinstance(node.this, exp.Identifier) and self.name(node.this) in common:
            return common[self.name(node.this)]
        return Source(real_table(node, frozenset(), self.names, self.dialect))

    def expressions(
        self,
        roots: Iterable[object],
        common: Common,
        scope: Scope,
        hidden: frozenset[str] = _NO_NAMES,
        left: Set[int] = _NO_NODES,
    ) -> None:
        stack: list[Any] = list(roots)
        while stack:
            node = stack.pop()
            role = _role(node.__class__)
            if role is _LEAF or id(node) in left:
                continue
            if role is _INNER:
                stack.extend(node.args.values())
            elif role is _LIST:
                stack.extend(node)
            elif role is _COLUMN:
                self.resolve(node, scope, hidden)
            elif role is _QUERY:
                self.query(node, common, scope)
            else:
                stack.append(node.args.get("replace"))

    def resolve(self, node: exp.Column, scope: Scope, hidden: frozenset[str]) -> None:
        get = node.args.get
        parts = [part for part in (get("catalog"), get("db"), get("table"), get("this")) if part]
        for part in parts:
            if not isinstance(part, exp.Identifier):
                return
        if not parts:
            return
        if len(parts) > 1:
            for qualifier, column in ((parts[-2], parts[-1]), (parts[0], parts[1])):
                source = scope.find(self.name(qualifier))
                if source is not None:
                    self.place(source, self.column(column))
                    return
            if self._no_fields:
                return
        name = self.column(parts[0])
        if name not in hidden and name not in self._pseudo and not scope.find(self.name(parts[0])):
            self.place(scope.only(), name)

    def place(self, source: Source | None, column: str) -> None:
        table = source.place(column) if source else None
        if table and column:
            self.found.add(ColumnRef(table, column))

    def name(self, node: object) -> str:
        if not isinstance(node, exp.Identifier):
            return ""
        key = node.this, bool(node.args.get("quoted"))
        found = self._folded.get(key)
        if found is None:
            found = self._folded[key] = fold(*key, self.dialect)
        return found

    def column(self, node: object) -> str:
        if not isinstance(node, exp.Identifier):
            return ""
        return fold_case(node.this, bool(node.args.get("quoted")), self._case)


def _output_name(item: exp.Expr) -> exp.Identifier | None:
    name = (
        item.args.get("alias") if isinstance(item, exp.Alias) else item.this if isinstance(item, exp.Column) else None
    )
    return name if isinstance(name, exp.Identifier) else None


def _branches(node: exp.SetOperation) -> Iterator[exp.Expr]:
    stack: list[exp.Expr] = [node]
    while stack:
        part = stack.pop()
        if isinstance(part, exp.SetOperation):
            stack += [part.right, part.left]
        else:
            yield part
