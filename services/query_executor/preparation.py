"""From a query's text and its values to a statement that is proved and bound; nothing here touches a server."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeVar

from services.query_executor.domain import PROFILE
from services.query_executor.guard import Policy, Proof, prove
from services.query_executor.guard.search import prove_search
from services.query_executor.statement import Bound, Engine
from services.query_executor.template import Template, Values, bind
from services.query_executor.template.parameters import Declared, declare, validate_parameters
from services.query_executor.template.rules import PROFILE as PROFILE_FIELDS
from services.query_executor.template.values import Value

_REMEMBERED: Final = 2000
_LONG: Final = 4000
Result = TypeVar("Result")


async def aside(text: str, work: Callable[[], Result]) -> Result:
    """Do something with a text. A long one takes its time: other requests go on meanwhile."""
    return await asyncio.to_thread(work) if len(text) > _LONG else work()


@lru_cache(_REMEMBERED)
def compiled(text: str, engine: Engine) -> Template:
    """A text is parsed once. Raises QueryValidationError."""
    return Template.compile(text, engine)


def referenced(template: Template) -> frozenset[tuple[str, ...]]:
    """Paths of the secrets that a template names; the user's profile is none."""
    return frozenset(path for path in template.secret_paths if path[0] != PROFILE)


def given(template: Template, declared: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> dict[str, Value]:
    """The parameters of one execution, checked; those that nothing uses are left out.

    Raises QueryValidationError that names `params.<name>`.
    """
    types = declare(declared)
    used = {each.name for each in template.parameters} | {each.name for each in types}
    wanted = {name: value for name, value in params.items() if name in used or name.partition(".")[0] == "secret"}
    return validate_parameters(wanted, types)


@dataclass(frozen=True, slots=True)
class Checked:
    """A text that may be saved: its template, what it is declared to take, what was proved of it."""

    template: Template
    declared: tuple[Declared, ...]
    proof: Proof


def check(text: str, engine: Engine, policy: Policy, declared: Sequence[Mapping[str, Any]]) -> Checked:
    """All that can be said of a text before it is run. Raises QueryValidationError."""
    template, types = compiled(text, engine), declare(declared)
    draft = template.render_dummy(types)
    proof = prove(draft, policy)
    bind(draft)
    return Checked(template, types, proof)


def check_call(
    checked: Checked, declared: Sequence[Mapping[str, Any]], params: Mapping[str, Any], policy: Policy
) -> None:
    """The same with the parameters of a call; secrets and the profile are made up. Raises QueryValidationError."""
    secrets = dict.fromkeys(referenced(checked.template), "x")
    values = Values(given(checked.template, declared, params), secrets, dict.fromkeys(PROFILE_FIELDS, "x"))
    prepare(checked.template, values, policy)


def prepare(template: Template, values: Values, policy: Policy) -> tuple[Bound, Proof]:
    """The statement of one execution, proved read-only."""
    draft = template.render(values)
    proof = prove(draft, policy)
    bound = bind(draft)
    if bound.body is not None:  # once more with the values in their places
        bound = replace(bound, body=prove_search(bound.body, policy))
    return bound, proof
