"""Every name before a bracket, as the author wrote it: what the server will call, whatever the parser makes of it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from services.query_executor.guard.lists import sections
from services.query_executor.guard.names import PLAIN, functions, never
from services.query_executor.guard.policy import Policy
from services.query_executor.guard.refusal import place, refused
from services.query_executor.statement import Engine

# Words of the grammar that stand before a bracket and call nothing. Only unquoted: "in"(1) is a call.
_GRAMMAR: Final = sections("language")["grammar"]
_TYPES: Final = frozenset({"varying", "zone", "precision"})


_SIGNS: Final = {
    TokenType.L_PAREN: "(", TokenType.R_PAREN: ")", TokenType.COMMA: ",", TokenType.ALIAS: "a", TokenType.STRING: "s",
}  # fmt: skip
# More tokens than the bound on nesting lets an argument of brackets have.
_LONGEST: Final = 400
_ALONE: Final = re.compile(r"(\(*)n((?:an|\))*),")


class Call(NamedTuple):
    """`name` in lower case with its schema, if any; `quoted` when written as a quoted name."""

    name: str
    quoted: bool
    offset: int


def calls(tokens: Sequence[Token]) -> Iterator[Call]:
    """Yield what stands before each opening bracket and could be a function."""
    for position, token in enumerate(tokens[:-1]):
        if tokens[position + 1].token_type is not TokenType.L_PAREN:
            continue
        if position and tokens[position - 1].token_type is TokenType.TABLE_SAMPLE:
            continue  # a method: TABLESAMPLE SYSTEM (1)
        quoted = token.token_type is TokenType.IDENTIFIER
        word = token.text if quoted else token.text.rsplit(maxsplit=1)[-1]
        if quoted or word[:1].isalpha() or word[:1] in ("_", "#"):
            yield Call(".".join([*_qualifiers(tokens, position), word.lower()]), quoted, token.start)


def _qualifiers(tokens: Sequence[Token], position: int) -> list[str]:
    found: list[str] = []
    while position >= 2 and tokens[position - 1].token_type is TokenType.DOT:
        position -= 2
        found.insert(0, tokens[position].text.lower())
    return found


def prove_calls(
    text: str, tokens: Sequence[Token], aliases: Mapping[str, int], engine: Engine, policy: Policy
) -> tuple[str, ...]:
    """Refuse every call that the lists and the policy do not allow; the names that are called.

    `aliases`: how often a name before a bracket is a table's alias with columns: `AS g (a, b)`.
    """
    left = Counter(aliases)
    called: dict[str, None] = {}
    for call in calls(tokens):
        bare = call.name.removeprefix("pg_catalog.") if engine.dialect in ("postgres", "redshift") else call.name
        if never(engine, last := bare.rpartition(".")[2]):
            raise refused(f"The function {last} is never allowed ({place(text, call.offset)}).")
        if functions(engine).allow(bare) or bare in policy.functions or bare in functions(engine).tables:
            called[bare] = None
        elif not call.quoted and (bare in _GRAMMAR or bare in _TYPES):
            continue
        elif left[call.name] > 0:
            left[call.name] -= 1
        else:
            raise _unknown(call.name, place(text, call.offset))
    return tuple(called)


def prove_applied(root: exp.Expr, engine: Engine) -> None:
    """ClickHouse calls a function by its bare name in `* APPLY(sum)`."""
    for applied in root.find_all(exp.Apply):
        name = applied.expression
        if isinstance(name, (exp.Var, exp.Identifier, exp.Column)) and not functions(engine).allow(name.name.lower()):
            raise refused("APPLY may only name a function of the list of functions that only read.")


def prove_bare_names(text: str, tokens: Sequence[Token], engine: Engine) -> None:
    """ClickHouse takes a function by its bare name in place of a lambda: `arrayMap(file, ['/etc/passwd'])` runs."""
    lambdas = functions(engine).lambdas
    for position, token in enumerate(tokens[:-1]):
        if token.text.lower() not in lambdas or tokens[position + 1].token_type is not TokenType.L_PAREN:
            continue
        name = _bare_name(tokens[position + 2 :])
        if name is not None and not functions(engine).allow(name):
            raise refused(f"Write a lambda, x -> f(x), as the first argument ({place(text, token.start)}).")


def _bare_name(tokens: Sequence[Token]) -> str | None:
    """The name that alone is the first of several arguments, in brackets or with an alias."""
    signs = "".join(_SIGNS.get(token.token_type, "n") for token in tokens[:_LONGEST])
    match = _ALONE.match(signs)
    if not match or len(match[1]) != match[2].count(")"):
        return None
    name = tokens[len(match[1])].text.lower()
    return name if name[:1].isalpha() or name[:1] == "_" else None


def _unknown(name: str, where: str) -> Exception:
    if not all(PLAIN.fullmatch(part) for part in name.split(".")):
        return refused(f"A function's name may hold only letters, digits and underscores ({where}).")
    return refused(
        f"The function {name} is not on the list of functions that only read ({where}). If it is safe, add it to "
        "allowed_functions of the connection's secret."
    )
