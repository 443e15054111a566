"""The columns of a parsed statement that can be placed in one real table."""

from collections.abc import Iterator
from contextlib import suppress

from sqlglot import exp

from libs.common.sql.dialects import Dialect
from libs.common.sql.names import ColumnRef, DefaultNames, fold
from libs.common.sql.queries import Common, QueryWalk
from libs.common.sql.sources import OPAQUE, Scope, Source


def columns_of(tree: exp.Expr, names: DefaultNames, dialect: Dialect) -> frozenset[ColumnRef]:
    """The placed columns of one statement; those found so far when its shape is beyond this walk."""
    walk = _StatementWalk(names, dialect)
    with suppress(RecursionError, AttributeError, TypeError, KeyError):
        walk.statement(tree)
    return frozenset(walk.found)


class _StatementWalk(QueryWalk):
    """What statements other than queries add: targets, assignments, column lists."""

    def statement(self, tree: exp.Expr) -> None:
        match tree:
            case exp.Query():
                self.query(tree, {}, None)
            case exp.Insert():
                self._insert(tree)
            case exp.Update() | exp.Delete() | exp.Merge():
                self._change(tree)
            case exp.Copy() if isinstance(tree.this, exp.Schema):
                self._listed(tree.this, self.table_source(tree.this.this, {}))
            case exp.Create() if isinstance(tree.this, exp.Index):
                self._index(tree.this)
            case _:
                self._queries_inside(tree)

    def _index(self, index: exp.Index) -> None:
        scope = Scope()
        self.source(index.args["table"], {}, scope)
        self.expressions([index.args.get("params")], {}, scope)

    def _insert(self, node: exp.Insert) -> None:
        common = self.common_tables(node, {}, None)
        schema = node.this
        table = schema.this if isinstance(schema, exp.Schema) else schema
        target = self.table_source(table, {})
        if isinstance(schema, exp.Schema):
            self._listed(schema, target)
        if node.expression:
            self.query(node.expression, common, None)
        alias = table.args.get("alias")
        own = self.name(alias.this if alias else table.this)
        scope = Scope(named={fold("excluded", False, self.dialect): target, own: target})
        conflict = node.args.get("conflict")
        if conflict:
            self.expressions([conflict.args.get("conflict_keys")], common, Scope(unnamed=[target]))
            self._conditions(conflict, common, scope, target)
        self.expressions([node.args.get("returning")], common, Scope(unnamed=[target]))

    def _change(self, node: exp.Update | exp.Delete | exp.Merge) -> None:
        common = self.common_tables(node, {}, None)
        scope = Scope()
        for item in self._read(node):
            self.source(item, common, scope)
        alias = node.this.args.get("alias")
        named = self.name(alias.this if alias else node.this.this)
        if self.dialect is not Dialect.TSQL or scope.find(named) is None:
            self.source(node.this, {}, scope)
        target = scope.find(named) or OPAQUE
        self.expressions(scope.conditions, common, scope)
        self._conditions(node, common, scope, target)

    def _read(self, node: exp.Expr) -> Iterator[exp.Expr]:
        clause, using = node.args.get("from_"), node.args.get("using")
        for item in [clause.this if clause else None, *(using if isinstance(using, list) else [using])]:
            if isinstance(item, exp.Expr):
                yield item

    def _conditions(self, node: exp.Expr, common: Common, scope: Scope, target: Source) -> None:
        """Conditions and SET lists; a bare name left of an assignment is the target's."""
        written = list(_written(node))
        for column in written:
            qualifier = column.args.get("table")
            source = scope.find(self.name(qualifier)) if qualifier else None
            self.place(source or target, self.column(column.this))
        left = {id(column) for column in written}
        for key in ("expressions", "where", "on", "whens", "returning", "order", "limit"):
            self.expressions([node.args.get(key)], common, scope, left=left)

    def _listed(self, schema: exp.Schema, target: Source) -> None:
        for item in schema.expressions:
            if isinstance(item, exp.Identifier):
                self.place(target, self.column(item))

    def _queries_inside(self, tree: exp.Expr) -> None:
        stack, common = [tree], self.common_tables(tree, {}, None)
        while stack:
            node = stack.pop()
            if isinstance(node, exp.Query):
                self.query(node, common, None)
            else:
                stack.extend(child for child in node.iter_expressions() if not isinstance(child, exp.With))


def _written(node: exp.Expr) -> Iterator[exp.Column]:
    """The columns that SET and MERGE's INSERT write to."""
    for part in [node, *node.find_all(exp.Update, exp.Insert)]:
        if isinstance(part, exp.Insert) and isinstance(part.this, exp.Tuple):
            yield from (item for item in part.this.expressions if isinstance(item, exp.Column))
        elif isinstance(part, exp.Update | exp.OnConflict):
            sides = [item.this for item in part.expressions if isinstance(item, exp.EQ)]
            yield from (side for side in sides if isinstance(side, exp.Column))
