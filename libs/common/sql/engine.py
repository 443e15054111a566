"""sqlglot's tokenizers and parsers, one of each per dialect and thread: making them takes a tenth of a parse."""

import threading

import sqlglot
from sqlglot import exp

from libs.common.sql.dialects import Dialect


class Engine:
    """One dialect's parser. Not for several threads."""

    def __init__(self, dialect: Dialect) -> None:
        found = sqlglot.Dialect.get_or_raise(dialect.sqlglot)
        self._tokenizer = found.tokenizer()
        self._parser = found.parser()

    def parse(self, text: str) -> list[exp.Expr | None]:
        """As `sqlglot.parse`. Raises what that raises."""
        try:
            return self._parser.parse(self._tokenizer.tokenize(text), text)
        finally:  # both would hold the text, literals and all, until the next one
            self._parser.reset()
            self._tokenizer.tokenize("")


class _Engines(threading.local):
    def __init__(self) -> None:
        self.known: dict[Dialect, Engine] = {}


_ENGINES = _Engines()


def engine(dialect: Dialect) -> Engine:
    """This thread's engine of a dialect."""
    found = _ENGINES.known.get(dialect)
    if found is None:
        found = _ENGINES.known[dialect] = Engine(dialect)
    return found
