"""What a template may say. Everything is listed: a construct that is not named here is refused."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import nodes

from services.query_executor.statement import TOKEN_PREFIX
from services.query_executor.template.filters import FILTERS, TESTS
from services.query_executor.template.values import refuse

MAX_LENGTH = 64 * 1024
MAX_NODES = 5_000
MAX_DEPTH = 40
MAX_LOOPS = 2
PROFILE = frozenset({"id", "username", "email", "first_name", "last_name", "is_staff", "is_superuser"})
SECRET = "secret"  # noqa: S105 - the name in templates
_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.Assign, nodes.Compare, nodes.Operand, nodes.And, nodes.Or,
    nodes.Not, nodes.CondExpr, nodes.Add, nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Neg, nodes.Pos, nodes.Concat,
    nodes.List, nodes.Tuple, nodes.Keyword,
)  # fmt: skip
_INSTEAD = {
    "Call": "functions and methods cannot be called in a query template; use a filter",
    "Mul": "`*` is not allowed in a query template; multiply in SQL",
    "Pow": "`**` is not allowed in a query template; use the database's power function",
    "Mod": "`%` is not allowed in a query template; compute in SQL",
    "AssignBlock": "`{% set %}…{% endset %}` is not allowed; set a name to one expression",
    "Dict": "objects are not allowed in a query template",
    "Slice": "slices are not allowed in a query template",
}


def check_text(text: str) -> None:
    """What can be refused before parsing."""
    if len(text) > MAX_LENGTH:
        raise refuse(f"A query template may have at most {MAX_LENGTH} characters.")
    if TOKEN_PREFIX in text.lower():
        raise refuse(f"The word {TOKEN_PREFIX!r} is reserved and cannot stand in a query.")
    if any((character < " " and character not in "\t\n\r") or character == "\x7f" for character in text):
        raise refuse("A query template cannot hold control characters.")


def check_tree(tree: nodes.Template) -> None:
    """Refuse every construct that is not allowed."""
    for count, (node, depth, loops) in enumerate(_walk(tree, 0, 0), 1):
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise refuse("The template is too large or too deeply nested.")
        if loops > MAX_LOOPS:
            raise refuse(f"At most {MAX_LOOPS} loops may be nested in a query template.")
        _check(node)


def secret_path(node: nodes.Node) -> tuple[str, ...] | None:
    """The names behind `secret` in `secret.a["b"]`, or None for anything else."""
    path: list[str] = []
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        part = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        if not isinstance(part, str):
            return None
        path.append(part)
        node = node.node
    return tuple(reversed(path)) if path and isinstance(node, nodes.Name) and node.name == SECRET else None


def profile_field(node: nodes.Node) -> str | None:
    """`id` for `secret.user_profile.id`; refuses fields that a profile does not have."""
    path = secret_path(node)
    if path is None or path[0] != "user_profile":
        return None
    if len(path) != 2 or path[1] not in PROFILE:
        raise refuse(f"secret.user_profile has the fields {', '.join(sorted(PROFILE))}; name one of them.")
    return path[1]


def _walk(node: nodes.Node, depth: int, loops: int) -> Iterator[tuple[nodes.Node, int, int]]:
    loops += isinstance(node, nodes.For)
    yield node, depth, loops
    if profile_field(node):
        return
    for child in node.iter_child_nodes():
        if isinstance(node, nodes.Output) and _plain_secret(child):
            continue
        if depth > MAX_DEPTH:
            return
        yield from _walk(child, depth + 1, loops)


def _plain_secret(node: nodes.Node) -> bool:
    path = secret_path(node)
    if path is None or path[0] == "user_profile":
        return False
    if len(path) > 5 or any(not part or len(part) > 255 for part in path):
        raise refuse("A secret is named by at most five parts, as in {{ secret.key.field }}.")
    return True


def _check(node: nodes.Node) -> None:
    if not isinstance(node, _ALLOWED):
        name = type(node).__name__
        raise refuse(_INSTEAD.get(name, f"{name} is not allowed in a query template") + ".")
    if profile_field(node):
        return
    check = _CHECKS.get(type(node))
    if check is not None:
        check(node)


def _check_name(node: nodes.Name) -> None:
    if node.name == SECRET:
        raise refuse(
            "A secret can only be written as {{ secret.key }} or {{ secret.key.field }}, standing alone: "
            "no filters, conditions, loops or concatenation."
        )
    if node.name.startswith("_"):
        raise refuse("Names in a template cannot begin with an underscore.")


def _check_attribute(node: nodes.Getattr) -> None:
    if not (isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in _LOOP):
        _refuse_secret_inside(node)
        raise refuse(f"`.{node.attr}` is not allowed: parameters are plain values and lists without fields.")


def _check_item(node: nodes.Getitem) -> None:
    index = _constant(node.arg)
    if not isinstance(index, int) or not isinstance(node.node, nodes.Name):
        _refuse_secret_inside(node)
        raise refuse("Only a whole number may stand in brackets, as in {{ ids[0] }}.")


def _refuse_secret_inside(node: nodes.Node) -> None:
    for name in node.find_all(nodes.Name):
        _check_name(name)


def _check_filter(node: nodes.Filter) -> None:
    if node.node is None:
        raise refuse("`{% filter %}` blocks are not allowed in a query template.")
    if node.name not in FILTERS or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise refuse(f"The filter `{node.name}` is not allowed; there are: {', '.join(sorted(FILTERS))}.")


def _check_test(node: nodes.Test) -> None:
    if node.name not in TESTS or node.dyn_args is not None or node.dyn_kwargs is not None:
        raise refuse(f"The test `{node.name}` is not allowed; there are: {', '.join(sorted(TESTS))}.")


def _check_loop(node: nodes.For) -> None:
    if node.recursive:
        raise refuse("Recursive loops are not allowed in a query template.")
    _check_target(node.target)


def _check_assignment(node: nodes.Assign) -> None:
    _check_target(node.target)


def _check_target(target: nodes.Node) -> None:
    if not isinstance(target, nodes.Name) or target.name == "loop":
        raise refuse("A loop or `{% set %}` gives one name, as in {% for id in ids %}.")


def _constant(node: nodes.Node) -> object:
    return node.value if isinstance(node, nodes.Const) else None


_CHECKS: Mapping[type[nodes.Node], Callable[[Any], None]] = {
    nodes.Name: _check_name,
    nodes.Getattr: _check_attribute,
    nodes.Getitem: _check_item,
    nodes.Filter: _check_filter,
    nodes.Test: _check_test,
    nodes.For: _check_loop,
    nodes.Assign: _check_assignment,
}
