"""The kinds of node that a query may consist of. Whatever is not on this list is refused, known to us or not."""

from typing import Final

from sqlglot import exp

from services.query_executor.guard.lists import sections
from services.query_executor.guard.refusal import refused

_LISTS: Final = sections("language")
_OPERATORS: Final = (exp.Binary, exp.Unary, exp.Func)
_DENIED: Final = tuple(getattr(exp, name) for name in _LISTS["denied"])
_KNOWN: Final = frozenset(getattr(exp, name) for name in _LISTS["nodes"])
_QUERIES: Final = (exp.Select, exp.SetOperation, exp.Subquery)
_ADVICE: Final = {
    "into": "INTO writes a table, a file or a variable; leave it out.",
    "locks": "Locking clauses (FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE) are not allowed; leave it out.",
    "hint": "Hints are not allowed; leave it out.",
    "settings": "SETTINGS is not allowed; limits are set by the service.",
    "format": "FORMAT is not allowed; ask for a format by the Accept header.",
    "Operator": "OPERATOR(…) is not allowed; write the operator itself.",
    "PropertyEQ": "Assignments by := are not allowed; write a named argument with =>.",
    "Parameter": "Variables (@x) are not allowed; write {{ x }} for a parameter.",
    "SessionParameter": "Server variables (@@x) are not allowed.",
    "Placeholder": "Driver placeholders are not allowed; write {{ name }} for a parameter.",
    "NextValueFor": "NEXT VALUE FOR changes a sequence and is not allowed.",
    "Command": "This statement is not allowed; a query may only read.",
}
_ROOTS: Final = (exp.Select, exp.SetOperation, exp.Values, exp.Subquery)


def prove_nodes(root: exp.Expr) -> None:
    """Refuse a root that is no query, and any node or clause that is not on the lists."""
    if not isinstance(root, _ROOTS):
        raise refused(f"{_verb(root)} is not allowed; a query may only read (SELECT, WITH, VALUES, TABLE).")
    for node in root.walk():
        kind = type(node)
        if kind in _KNOWN or (isinstance(node, _OPERATORS) and not isinstance(node, _DENIED)):
            _prove_parts(node)
        elif isinstance(node, (exp.DML, exp.DDL, exp.Drop, exp.Alter, exp.Merge)):
            raise refused(f"{_verb(node)} is not allowed; a query may only read.")
        else:
            raise refused(_ADVICE.get(kind.__name__, f"{_verb(node)} is not allowed in a query that only reads."))


def _prove_parts(node: exp.Expr) -> None:
    if not isinstance(node, (exp.Table, *_QUERIES)):
        return
    parts = _LISTS["table_parts" if isinstance(node, exp.Table) else "query_parts"]
    for name, value in node.args.items():
        if value and name not in parts:
            raise refused(_ADVICE.get(name, f"{name.strip('_').upper()} is not allowed in a query that only reads."))
    for modifier in node.args.get("operation_modifiers") or ():
        if modifier.name.upper() not in _LISTS["modifiers"]:
            raise refused("This modifier of SELECT is not allowed.")


def _verb(node: exp.Expr) -> str:
    """The statement's name for a message: a word of SQL, never of the author."""
    if isinstance(node, (exp.Column, exp.Alias, exp.Identifier)):
        return "This statement"
    return {"TruncateTable": "TRUNCATE", "Into": "INTO"}.get(type(node).__name__, type(node).__name__.upper())
