"""What parameters a template uses, read from its syntax tree."""

from collections.abc import Iterator
from dataclasses import dataclass

from jinja2 import nodes

from services.query_executor.template.rules import SECRET, profile_field, secret_path

_LISTS = frozenset({"join", "sort", "unique", "reverse", "first", "last", "max", "min"})
_DEFAULTS = frozenset({"default", "d"})
_PRESENCE = frozenset({"defined", "undefined"})


@dataclass(frozen=True, slots=True)
class Inferred:
    """`in_list`: used as a list. `optional`: each use has a default or stands behind a condition on the parameter."""

    name: str
    in_list: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class _Use:
    name: str
    in_list: bool
    needed: bool


def parameters(tree: nodes.Template) -> tuple[Inferred, ...]:
    """The parameters in the order of their first use."""
    uses: dict[str, list[_Use]] = {}
    for use in _uses(tree, frozenset(), {}):
        uses.setdefault(use.name, []).append(use)
    return tuple(
        Inferred(name, any(use.in_list for use in found), not any(use.needed for use in found))
        for name, found in uses.items()
    )


def secret_paths(tree: nodes.Template) -> frozenset[tuple[str, ...]]:
    """The secrets and profile fields that the template names."""
    return frozenset(_paths(tree))


def _paths(node: nodes.Node) -> Iterator[tuple[str, ...]]:
    path = secret_path(node)
    if path is not None:
        yield path
        return
    for child in node.iter_child_nodes():
        yield from _paths(child)


def _uses(node: nodes.Node, guarded: frozenset[str], local: dict[str, str | None]) -> Iterator[_Use]:
    """`local`: names that the template sets itself, and the parameter behind them, if one is."""
    if profile_field(node) or secret_path(node):
        return
    if isinstance(node, nodes.Name):
        name = local.get(node.name, node.name)
        if name not in (None, "loop", SECRET) and node.ctx == "load":
            yield _Use(str(name), False, name not in guarded)
    elif isinstance(node, (nodes.If, nodes.CondExpr)):
        yield from _conditional(node, guarded, local)
    elif isinstance(node, (nodes.For, nodes.Assign)):
        yield from _binding(node, guarded, local)
    elif isinstance(node, nodes.Filter) and isinstance(node.node, nodes.Name):
        yield from _filtered(node, guarded, local)
    elif not (isinstance(node, nodes.Test) and node.name in _PRESENCE and isinstance(node.node, nodes.Name)):
        for child in node.iter_child_nodes():
            yield from _uses(child, guarded, local)
    else:
        yield _Use(local.get(node.node.name) or node.node.name, False, False)


def _conditional(
    node: nodes.If | nodes.CondExpr, guarded: frozenset[str], local: dict[str, str | None]
) -> Iterator[_Use]:
    inside = guarded | {local.get(name) or name for name in _tested(node.test)}
    for child in node.iter_child_nodes():
        yield from _uses(child, inside, local)


def _tested(node: nodes.Node) -> Iterator[str]:
    """The names that a condition asks about in a way that copes with their absence."""
    if isinstance(node, nodes.Name):
        yield node.name
    elif isinstance(node, (nodes.Not, nodes.And, nodes.Or)):
        for child in node.iter_child_nodes():
            yield from _tested(child)
    elif isinstance(node, nodes.Test):
        yield from _tested(node.node)
    elif isinstance(node, nodes.Compare) and all(operand.op in ("eq", "ne", "in", "notin") for operand in node.ops):
        yield from _tested(node.expr)


def _binding(node: nodes.For | nodes.Assign, guarded: frozenset[str], local: dict[str, str | None]) -> Iterator[_Use]:
    source = node.iter if isinstance(node, nodes.For) else node.node
    assert isinstance(node.target, nodes.Name)
    for use in _uses(source, guarded, local):
        yield _Use(use.name, use.in_list or isinstance(node, nodes.For), use.needed)
    known = source.name if isinstance(source, nodes.Name) else None
    inner = {**local, node.target.name: known and local.get(known, known)}
    if isinstance(node, nodes.Assign):
        local.update(inner)
        return
    for child in (*node.body, *node.else_, *([node.test] if node.test else [])):
        yield from _uses(child, guarded, inner)


def _filtered(node: nodes.Filter, guarded: frozenset[str], local: dict[str, str | None]) -> Iterator[_Use]:
    assert node.node is not None
    for use in _uses(node.node, guarded, local):
        yield _Use(use.name, node.name in _LISTS, use.needed and node.name not in _DEFAULTS)
    for child in (*node.args, *node.kwargs):
        yield from _uses(child, guarded, local)
