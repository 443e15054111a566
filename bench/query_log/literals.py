"""The literals and comments of a generated query log, drawn anew for each row."""

import random
from collections.abc import Callable, Mapping
from typing import Final

from libs.common.sql import Dialect


def _split(text: str) -> list[str]:
    return text.split()


_WORDS: Final = _split(
    "paid open closed web mobile partner DE US FR EUR USD gold silver basic retail Berlin Munich Lyon express "
    "refunded new returning social search north south"
)
_UNITS: Final = ("day", "week", "month", "quarter", "year", "hour")
_APOSTROPHES: Final = {
    Dialect.BIGQUERY: ("\\'",),
    Dialect.CLICKHOUSE: ("''", "\\'"),
    Dialect.MYSQL: ("''", "\\'"),
    Dialect.POSTGRES: ("''",),
    Dialect.REDSHIFT: ("''",),
    Dialect.SNOWFLAKE: ("''", "\\'"),
}
_TOOLS: Final = (
    "-- Metabase:: userID: {n} queryType: MBQL queryHash: {h}\n",
    '/* {{"app": "dbt", "dbt_version": "1.9.{n}", "node_id": "model.acme.m{n}"}} */\n',
    "/* superset: user_{n}@acme.example dashboard {n} it's chart {h} */ ",
    '-- Looker Query Context \'{{"user_id":{n},"history_slug":"{h}","instance_slug":"{h}"}}\'\n',
)


class Literals:
    """Draws what stands in a slot. With a mark, every literal and comment holds the mark or the digits 4711."""

    def __init__(self, draw: random.Random, mark: str = "") -> None:
        self._draw, self._mark, self._digits = draw, mark, "4711" if mark else ""
        self._kinds: Mapping[str, Callable[[Dialect], str]] = {
            "a": lambda of: ", ".join(self._int(of) for _ in range(self._length())),
            "b": lambda of: ", ".join(self._string(of) for _ in range(self._length())),
            "d": lambda of: self._quoted(f"20{self._below(10, 26)}-0{self._below(1, 9)}-{self._below(10, 28)}"),
            "e": self._escape_string,
            "f": lambda of: f"{self._digits}{self._below(0, 999)}.{self._digits}{self._below(0, 99)}",
            "i": self._int,
            "l": lambda of: self._quoted(f"%{self._word()}%"),
            "n": lambda of: f"{self._digits}{self._below(1, 500)}",
            "q": lambda of: f'"{self._word()}"' if self._below(0, 1) else self._string(of),
            "s": self._string,
            "t": lambda of: self._quoted(
                f"20{self._below(10, 26)}-0{self._below(1, 9)}-11 {self._below(10, 23)}:30:00"
            ),
            "u": lambda of: self._quoted(self._draw.choice(_UNITS)),
            "v": lambda of: self._quoted(f"{self._below(1, 90)} days"),
        }

    def draw(self, kind: str, dialect: Dialect) -> str:
        """A literal of this kind: i, n, f numbers, s, q, e, l strings, d, t times, a, b lists, r… rows."""
        if kind[0] == "r":
            rows = range(self._below(1, 12))
            return ", ".join("(" + ", ".join(self.draw(each, dialect) for each in kind[1:]) + ")" for _ in rows)
        return self._kinds[kind](dialect)

    def comment(self) -> str:
        """What a BI tool writes before its statement."""
        number, long = f"{self._digits}{self._below(1, 900)}", f"{self._draw.getrandbits(128):032x}{self._mark}"
        return self._draw.choice(_TOOLS).format(n=number, h=long)

    def _below(self, least: int, most: int) -> int:
        return least + int(self._draw.random() * (most - least + 1))

    def _length(self) -> int:
        """Lists are short as a rule, and now and then very long."""
        return self._below(1, 8) if self._draw.random() < 0.93 else self._below(9, 150)

    def _word(self) -> str:
        return f"{self._draw.choice(_WORDS)} {self._below(1, 99)}{self._mark}"

    def _quoted(self, text: str) -> str:
        return f"'{text}'" if self._mark in text else f"'{text}{self._mark}'"

    def _int(self, _: Dialect) -> str:
        return f"{self._digits}{self._below(1, 1_000_000)}"

    def _string(self, dialect: Dialect) -> str:
        text = self._word()
        if self._draw.random() < 0.04:
            text = "O" + self._draw.choice(_APOSTROPHES[dialect]) + text
        return f"'{text}'"

    def _escape_string(self, _: Dialect) -> str:
        text = self._word()
        return self._draw.choice([f"E'it\\'s {text}'", f"$${text}$$", f"$tag${text}$tag$", f"'{text}'"])
