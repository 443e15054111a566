"""A query's template, compiled once and rendered with the values of each execution."""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Final

from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError, nodes
from jinja2.runtime import Undefined

from services.query_executor.errors import QueryError, QueryValidationError
from services.query_executor.statement import TOKEN_PREFIX, Draft, Engine, Scalar
from services.query_executor.template.draft import drafted
from services.query_executor.template.environment import MissingParameter, sandbox
from services.query_executor.template.filters import Dummy
from services.query_executor.template.inference import Inferred, parameters, secret_paths
from services.query_executor.template.recorder import RECORDER, Recorder
from services.query_executor.template.rewrite import PROFILE_NAME, Rewriter, Site
from services.query_executor.template.rules import PROFILE, check_text, check_tree
from services.query_executor.template.splice import check_shapes
from services.query_executor.template.values import Value, Values, refuse

MAX_TEXT: Final = 128 * 1024
_REQUIRED: Final = "This parameter is required."


@dataclass(frozen=True, slots=True)
class Template:
    """Immutable; `parameters` and `secret_paths` say what `render` needs."""

    engine: Engine
    parameters: tuple[Inferred, ...]
    secret_paths: frozenset[tuple[str, ...]]
    _sites: tuple[Site, ...] = field(repr=False)
    _jinja: JinjaTemplate = field(repr=False)

    @classmethod
    def compile(cls, text: str, engine: Engine) -> "Template":
        """Parse and check a template. Raises QueryValidationError for `query_text`."""
        check_text(text)
        try:
            tree = sandbox().parse(text)
            check_tree(tree)
            used, paths = parameters(tree), secret_paths(tree)
            sites, jinja = _compiled(tree)
        except QueryError:
            raise
        except TemplateError as error:
            raise refuse(
                f"The template is malformed in line {getattr(error, 'lineno', 1)}: {str(error.message).rstrip('.')}."
            ) from None
        except (RecursionError, SyntaxError, MemoryError, ValueError):
            raise refuse("The template is malformed or too deeply nested.") from None
        if engine is Engine.INTERNAL and any(path[0] != "user_profile" for path in paths):
            raise refuse("An internal query has no secrets but secret.user_profile.")
        return cls(engine, used, paths, sites, jinja)

    def render(self, values: Values) -> Draft:
        """The statement of one execution. Raises QueryValidationError naming the parameters that are missing."""
        missing = [used.name for used in self.parameters if not used.optional and used.name not in values.parameters]
        if missing:
            raise _missing(missing)
        recorder = Recorder(self._sites, values)
        raw = _rendered(self._jinja, recorder, values)
        draft = drafted(self.engine, raw.replace(recorder.prefix, TOKEN_PREFIX), recorder.outputs)
        check_shapes(draft)
        return draft

    def render_dummy(self, declared: Iterable[Any] = ()) -> Draft:
        """The statement with a value made up for each parameter; `declared` parameters get one of their type."""
        types = {parameter.name: parameter for parameter in declared}
        given = {used.name: _dummy(used, types.get(used.name)) for used in self.parameters}
        secrets = {path: "x" for path in self.secret_paths if path[0] != "user_profile"}
        return self.render(
            Values(given, secrets, {**dict.fromkeys(PROFILE, "x"), "is_staff": True, "is_superuser": True})
        )


def _compiled(tree: nodes.Template) -> tuple[tuple[Site, ...], JinjaTemplate]:
    environment = sandbox()
    rewriter = Rewriter(environment)
    code = environment.compile(rewriter.visit(tree))
    assert isinstance(code, CodeType)
    return tuple(rewriter.sites), environment.template_class.from_code(environment, code, {})


def _rendered(jinja: JinjaTemplate, recorder: Recorder, values: Values) -> str:
    profile = {PROFILE_NAME + name: values.profile.get(name) for name in PROFILE}
    pieces, length = list[str](), 0
    try:
        for piece in jinja.root_render_func(jinja.new_context({**values.parameters, **profile, RECORDER: recorder})):
            pieces.append(piece)
            length += len(piece)
            recorder.check_time()
            if length > MAX_TEXT or (isinstance(piece, Undefined)):
                raise refuse(f"The rendered query may have at most {MAX_TEXT} characters.")
    except MissingParameter as error:
        raise _missing([*recorder.missing, error.name]) from None
    except QueryError:
        raise
    except Exception:  # values of the wrong type raise what they like; the text of the error could hold one
        raise refuse(
            "The template cannot be rendered with these values: a filter or a condition does not fit."
        ) from None
    if recorder.missing:
        raise _missing(recorder.missing)
    return "".join(pieces)


def _missing(names: Sequence[str]) -> QueryValidationError:
    shown = [name.removeprefix(PROFILE_NAME) for name in dict.fromkeys(names)]
    return QueryValidationError(
        f"Missing parameters: {', '.join(shown)}", errors={f"params.{name}": [_REQUIRED] for name in shown}
    )


def _dummy(used: Inferred, declared: Any) -> Value:
    kind = str(declared.type) if declared is not None else ("list" if used.in_list else "")
    made: dict[str, Scalar] = {
        "number": 1,
        "boolean": True,
        "date": datetime.date(2024, 1, 1).isoformat(),
        "datetime": "2024-01-01T00:00:00Z",
        "enum": declared.options[0] if declared is not None and declared.options else Dummy("x"),
    }
    return (Dummy("x"),) if kind == "list" else made.get(kind, Dummy("x"))
