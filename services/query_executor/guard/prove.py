"""Layer 1: a statement is proved to read before anything reaches a server. What is proved once is remembered."""

from collections import Counter
from functools import lru_cache
from typing import Final

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError
from sqlglot.tokenizer_core import Token

from libs.common.sql.lexer import Kind
from services.query_executor.errors import QueryValidationError
from services.query_executor.guard.attributes import prove_attributes
from services.query_executor.guard.calls import prove_applied, prove_bare_names, prove_calls
from services.query_executor.guard.disclosure import prove_secrets, refuse_secrets
from services.query_executor.guard.explain import peel
from services.query_executor.guard.lexical import lex, parseable, special, without_comments
from services.query_executor.guard.nodes import prove_nodes
from services.query_executor.guard.policy import Policy, Proof
from services.query_executor.guard.refusal import refused
from services.query_executor.guard.relations import prove_name, prove_relations
from services.query_executor.guard.search import prove_text
from services.query_executor.guard.show import is_show, prove_show
from services.query_executor.guard.words import prove_verb, prove_words
from services.query_executor.statement import Draft, Engine

REMEMBERED: Final = 1024


def prove(draft: Draft, policy: Policy) -> Proof:
    """Prove that a statement only reads what it may. Raises QueryValidationError on `query_text`."""
    found = verdict(draft.engine, draft.text, policy, draft.secret_tokens())
    if isinstance(found, str):
        raise refused(found)
    return found


@lru_cache(maxsize=REMEMBERED)
def verdict(engine: Engine, text: str, policy: Policy, secrets: frozenset[str]) -> Proof | str:
    """The proof, or why there is none: refusals are remembered too."""
    try:
        if engine is Engine.ELASTICSEARCH:
            return prove_text(text, policy, secrets)
        return _prove(engine, text, policy, secrets)
    except QueryValidationError as error:
        return error.detail


def _prove(engine: Engine, text: str, policy: Policy, secrets: frozenset[str]) -> Proof:
    found = special(text, engine)
    peeled = peel(without_comments(text, found), engine)
    prove_verb(peeled.text)
    if is_show(peeled.text):
        return _prove_show(peeled.text, engine, policy, secrets)
    tokens = lex(peeled.text, [span for span in found if span.kind is not Kind.COMMENT], engine)
    prove_words(peeled.text, tokens)
    root = _parse(peeled.text, tokens, engine)
    prove_nodes(root)
    names = prove_calls(peeled.text, tokens, _aliases(root), engine, policy)
    prove_applied(root, engine)
    prove_bare_names(peeled.text, tokens, engine)
    prove_attributes(root, engine, policy)
    tables = prove_relations(root, engine, policy)
    prove_secrets(text, root, secrets)
    return Proof(tables, returns_rows=peeled.length == 0, names=names)


def _prove_show(text: str, engine: Engine, policy: Policy, secrets: frozenset[str]) -> Proof:
    refuse_secrets(text, secrets)
    tables = prove_show(text, engine)
    for name in tables:
        prove_name(name, engine, policy)
    return Proof(tables, returns_rows=False)


def _parse(text: str, tokens: list[Token], engine: Engine) -> exp.Expr:
    try:
        trees = Dialect.get_or_raise(engine.dialect).parser().parse(parseable(tokens, engine), text)
    except ParseError as error:
        raise refused(f"The query cannot be parsed{_where(error)}.") from None
    except RecursionError:
        raise refused("The query is nested too deeply; simplify it.") from None
    except Exception:  # the parser raises what it likes on odd input, and its messages quote the statement
        raise refused("The query cannot be parsed.") from None
    if len(trees) != 1 or trees[0] is None:
        raise refused("Exactly one statement is allowed.")
    return trees[0]


def _where(error: ParseError) -> str:
    first = error.errors[0] if error.errors else {}
    line, column = first.get("line"), first.get("col")
    return f" at line {line}, column {column}" if line else ""


def _aliases(root: exp.Expr) -> Counter[str]:
    """How often each name is an alias with columns: `WITH g (a)`, `AS g (a, b)`."""
    named = (alias for alias in root.find_all(exp.TableAlias) if alias.columns and alias.this is not None)
    return Counter(alias.name.lower() for alias in named)
