"""The Jinja environment that templates run in: immutable sandbox, no globals, listed filters and tests."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NoReturn

from jinja2 import pass_context
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.query_executor.template.filters import FILTERS, TESTS, concat, number
from services.query_executor.template.recorder import RECORDER, Recorder, Token
from services.query_executor.template.rewrite import CONCAT, LOOP, OUTPUT, SECRET_OUTPUT


class MissingParameter(Exception):
    """A parameter whose value is needed was not given."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Missing(Undefined):
    """A parameter that was not given: may be tested, has no value."""

    __slots__ = ()

    def _fail(self, *_: Any, **__: Any) -> NoReturn:
        raise MissingParameter(self._undefined_name or "?")

    __str__ = __iter__ = __len__ = __contains__ = __add__ = __radd__ = __sub__ = __rsub__ = _fail
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __neg__ = __pos__ = __lt__ = _fail
    __le__ = __gt__ = __ge__ = __getitem__ = __getattr__ = __int__ = __float__ = _fail


class Sandbox(ImmutableSandboxedEnvironment):
    """Only numbers are added and subtracted: a text can not be made longer by an operator."""

    intercepted_binops = frozenset({"+", "-", "/", "//"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`a + b` of numbers."""
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            str(left), str(right)
        return super().call_binop(context, operator, number(left), number(right))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """The rules leave only `loop.index` and its like."""
        return type(obj).__name__ == "LoopContext" and super().is_safe_attribute(obj, attr, value)

    def is_safe_callable(self, obj: Any) -> bool:
        """Nothing is called."""
        return False


def _recorder(context: Context) -> Recorder:
    recorder = context.parent[RECORDER]
    assert isinstance(recorder, Recorder)
    return recorder


@pass_context
def _output(context: Context, value: Any, site: int) -> Token:
    return _recorder(context).output(value, site)


@pass_context
def _secret(context: Context, _: Any, site: int) -> Token:
    return _recorder(context).secret(site)


@pass_context
def _loop(context: Context, value: Any, path: str) -> Iterator[Any]:
    return _recorder(context).elements(value, path)


@pass_context
def _finalize(context: Context, value: Any) -> str:
    """Nothing but a token leaves a template, whatever way it came."""
    return value if type(value) is Token else _recorder(context).stray(value)


@cache
def sandbox() -> Sandbox:
    """The one environment: it holds no state of any template."""
    environment = Sandbox(
        undefined=Missing,
        finalize=_finalize,
        autoescape=False,
        optimized=False,
        keep_trailing_newline=True,
        cache_size=0,
    )
    environment.globals.clear()
    environment.filters = {**FILTERS, OUTPUT: _output, SECRET_OUTPUT: _secret, LOOP: _loop, CONCAT: concat}
    environment.tests = dict(TESTS)
    return environment
