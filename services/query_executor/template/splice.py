"""From a draft to what a driver sends: each placeholder's literal becomes one bind, the rest stays as written.

The plan of a draft's text is remembered; values are filled in at each call.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from services.query_executor.statement import Bound, Draft, Engine
from services.query_executor.template.context import Context, contexts
from services.query_executor.template.draft import REMEMBERED, REMEMBERED_LENGTH
from services.query_executor.template.lexing import lex
from services.query_executor.template.literals import literal
from services.query_executor.template.nested import grammar
from services.query_executor.template.recipes import Bare, Composed, Quoted, Recipe, Writer
from services.query_executor.template.search import NotJson, filled, parse
from services.query_executor.template.shapes import check_author, check_bare, check_item, check_string, list_place
from services.query_executor.template.typed import Typed, check_typed, takes_number, typed
from services.query_executor.template.values import refuse


def bind(draft: Draft) -> Bound:
    """The statement with its values beside it. Raises QueryValidationError for a value that does not fit its place."""
    if draft.engine is Engine.ELASTICSEARCH:
        natives = frozenset(number for number, slot in enumerate(draft.slots) if slot.native)
        return Bound(draft.engine, (), (), filled(_document(draft.text), draft.slots, natives))
    writer = Writer(draft.slots)
    for step in _planned(draft):
        if isinstance(step, str):
            writer.text(step)
        else:
            step.write(writer)
    return Bound(draft.engine, *writer.done())


def check_shapes(draft: Draft) -> None:
    """Refuse placeholders that stand where no value can."""
    if draft.engine is Engine.ELASTICSEARCH:
        _document(draft.text)
    else:
        _planned(draft)


def _planned(draft: Draft) -> tuple[str | Recipe, ...]:
    plan = _plan if len(draft.text) <= REMEMBERED_LENGTH else _plan.__wrapped__
    return plan(draft.engine, draft.text, tuple(slot.path for slot in draft.slots))


@lru_cache(REMEMBERED // 4)
def _document(text: str) -> dict[str, object]:
    try:
        document = parse(text)
    except NotJson as error:
        raise refuse(f"The search is no JSON: {error}. A list stands outside quotes: {{{{ ids }}}}.") from None
    if not isinstance(document, dict):
        raise refuse("A search is a JSON object.")
    return document


@lru_cache(REMEMBERED)
def _plan(engine: Engine, text: str, paths: tuple[str, ...]) -> tuple[str | Recipe, ...]:
    return tuple(_steps(engine, text, paths))


def _steps(engine: Engine, text: str, paths: Sequence[str]) -> Iterator[str | Recipe]:
    lexemes = lex(engine, text)
    check_author(engine, lexemes)
    position = 0
    for context in contexts(lexemes):
        start, end, recipe = _recipe(engine, text, context, paths)
        yield text[position:start]
        yield recipe
        position = end
    yield text[position:]


def _recipe(engine: Engine, text: str, context: Context, paths: Sequence[str]) -> tuple[int, int, Recipe]:
    lexeme = context.lexeme
    path = paths[lexeme.slots[0]]
    if lexeme.slot is not None:
        check_bare(text, context, path)
        check_typed(engine, text, context, path)
        number = takes_number(engine, context)
        return lexeme.start, lexeme.end, Bare(lexeme.slot, list_place(context), context.negated, number)
    if not lexeme.is_string:
        raise refuse(
            f"{{{{ {path} }}}} is glued to what stands next to it; put the whole value in quotes, or for a name write "
            "{{ name|ident }}."
        )
    pieces = literal(engine, lexeme)
    kind = typed(engine, text, context) or Typed(lexeme.start, lexeme.end, number=takes_number(engine, context))
    if kind.start == lexeme.start:
        check_string(text, context, path)
    check_item(context, path)
    if len(pieces) == 1 and isinstance(pieces[0], int):
        return kind.start, kind.end, Quoted(pieces[0], kind, list_place(context), context.negated)
    is_range = _is_range(context)
    return kind.start, kind.end, Composed(lexeme.slots, grammar(engine, pieces, is_range=is_range), kind)


def _is_range(context: Context) -> bool:
    return context.following == "::" and len(context.after) > 1 and context.after[1].word.endswith("RANGE")
