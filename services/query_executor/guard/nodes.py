"""The kinds of node that a query may consist of. Whatever is not on this list is refused, known to us or not."""

from typing import Final

from sqlglot import exp

from services.query_executor.guard.refusal import refused

_NAMES: Final = """
    Select Union Except Intersect Values Subquery With CTE TableAlias Table From Join Lateral Where Having Group
    GroupingSets Cube Rollup Order Ordered Limit LimitOptions Offset Fetch Distinct Qualify PreWhere Window WindowSpec
    Filter WithinGroup IgnoreNulls RespectNulls HavingMax TableSample Pivot PivotAlias PivotAny UnpivotColumns Final
    WithFill Alias Aliases Column ColumnDef Identifier Var Star Literal National RawString ByteString HexString
    BitString Boolean Null Tuple Slice Lambda Interval IntervalSpan IntervalOp DataType DataTypeParam ObjectIdentifier
    PseudoType Between In Any All Exists SubqueryPredicate AtTimeZone FromTimeZone Introducer JSON JSONPath
    JSONPathFilter JSONPathKey JSONPathPart JSONPathRecursive JSONPathRoot JSONPathScript JSONPathSelector JSONPathSlice
    JSONPathSubscript JSONPathUnion JSONPathWildcard JSONKeyValue JSONSchema JSONColumnDef JSONExtractQuote JSONValue
    FormatJson OnCondition XMLNamespace XMLKeyValueOption IndexTableHint Version Partition TimeUnit ForIn Variadic
    PositionalColumn Pseudocolumn CharacterSet OverflowTruncateBehavior Condition Predicate Unnest UDTF ColumnConstraint
    PathColumnConstraint ScopeResolution TableColumn Bracket
""".split()
_OPERATORS: Final = (exp.Binary, exp.Unary, exp.Func)
# Operators and typed functions that do more than compute.
_DENIED: Final = tuple(
    kind
    for name in (
        "Operator PropertyEQ NextValueFor ReadCSV ReadParquet ToFile Predict MLForecast MLTranslate AIAgg AIClassify "
        "AIEmbed AIForecast AIGenerate AISimilarity AISummarizeAgg OpenJSON Command"
    ).split()
    if (kind := getattr(exp, name, None)) is not None
)
_KNOWN: Final = frozenset(kind for name in _NAMES if (kind := getattr(exp, name, None)) is not None)
_QUERY_PARTS: Final = frozenset(
    "this expression expressions alias with_ distinct by_name side kind on from_ operation_modifiers exclude laterals joins "
    "pivots prewhere where group having qualify windows order limit offset sample".split()
)
_TABLE_PARTS: Final = frozenset(
    "this alias db catalog laterals joins pivots hints version ordinality only partition rows_from sample".split()
)
_PARTS: Final = {
    **dict.fromkeys((exp.Select, exp.Union, exp.Except, exp.Intersect, exp.Subquery), _QUERY_PARTS),
    exp.Table: _TABLE_PARTS,
}
_MODIFIERS: Final = frozenset(
    {
        "SQL_NO_CACHE",
        "SQL_CACHE",
        "STRAIGHT_JOIN",
        "HIGH_PRIORITY",
        "SQL_SMALL_RESULT",
        "SQL_BIG_RESULT",
        "SQL_BUFFER_RESULT",
    }
)
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
    parts = _PARTS.get(type(node))
    if parts is None:
        return
    for name, value in node.args.items():
        if value and name not in parts:
            raise refused(_ADVICE.get(name, f"{name.strip('_').upper()} is not allowed in a query that only reads."))
    for modifier in node.args.get("operation_modifiers") or ():
        if modifier.name.upper() not in _MODIFIERS:
            raise refused("This modifier of SELECT is not allowed.")


def _verb(node: exp.Expr) -> str:
    """The statement's name for a message: a word of SQL, never of the author."""
    if isinstance(node, (exp.Column, exp.Alias, exp.Identifier)):
        return "This statement"
    return {"TruncateTable": "TRUNCATE", "Into": "INTO"}.get(type(node).__name__, type(node).__name__.upper())
