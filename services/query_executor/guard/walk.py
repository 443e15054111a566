"""What the walks over a search share: allow-lists of keys, plain values, and where a secret was met."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.query_executor.guard.lists import sections
from services.query_executor.guard.refusal import refused

MAX_NODES: Final = 10_000
MAX_BUCKETS: Final = 10_000
COMMON: Final = frozenset({"boost", "_name"})
_LISTS: Final = sections("search_body")
_PLAIN_KEY: Final = re.compile(r"[^\x00-\x1f\"\\<>|,#?]{1,255}")


@dataclass(slots=True)
class Walk:
    """`secrets`: their tokens; `met` counts those that stood where one may. `hits` walks inner hits."""

    secrets: frozenset[str]
    hits: Callable[["Walk", Any, str], None]
    met: int = 0
    nodes: int = 0

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        """An object, counted against the limit of nodes."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise refused("The search has too many parts; simplify it.")
        if not isinstance(value, dict):
            raise refused(f"{where} must be a JSON object.")
        return value

    def allowed(self, value: Any, keys: Iterable[str], where: str) -> Mapping[str, Any]:
        """An object that holds none but these keys."""
        found = self.mapping(value, where)
        known = frozenset(keys)
        for key in found:
            if key not in known:
                raise unknown(key, where)
        return found

    def options(self, value: Any, keys: Iterable[str], where: str) -> None:
        """An object of plain values under these keys."""
        for key, each in self.allowed(value, keys, where).items():
            self.plain(each, f"{where}.{key}")

    def plain(self, value: Any, where: str, depth: int = 0) -> None:
        """A scalar, or lists and small objects of such, none of whose keys can run anything."""
        self.nodes += 1
        if depth > 4 or self.nodes > MAX_NODES:
            raise refused(f"{where} is nested too deeply.")
        if isinstance(value, dict):
            for key, each in value.items():
                if key in _LISTS["never"]:
                    raise unknown(key, where)
                self.plain(each, where, depth + 1)
        elif isinstance(value, list):
            for each in value:
                self.plain(each, where, depth + 1)

    def value(self, value: Any, where: str) -> None:
        """A value that a field is compared with: a scalar, which may be a secret, or a list of such."""
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, (dict, list)):
                raise refused(f"{where} must be a plain value.")
            self.met += isinstance(each, str) and each in self.secrets


def unknown(key: str, where: str) -> Exception:
    """What is said of a key that no list holds."""
    name = key if re.fullmatch(r"[a-z_]{1,40}", key) else "a key"
    if "script" in name or name in _LISTS["never"] or name in sections("search_queries")["refused"]:
        return refused(f"{name} is not allowed in {where}: a search may not run scripts or reach beyond its index.")
    return refused(f"{name} is not known in {where}, and only what is known to read is allowed.")


def field_name(key: str, where: str) -> str:
    """A field's name, which may be any plain word: `script` is one too."""
    if not _PLAIN_KEY.fullmatch(key) or key in ("_script", "_index_prefix"):
        raise refused(f"A field's name in {where} is not plain.")
    return key


def each_of(value: Any) -> list[Any]:
    """One or a list of several."""
    return value if isinstance(value, list) else [value]


def count(value: Any, most: int, where: str) -> None:
    """A number of rows or buckets, or a token that stands for one."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise refused(f"{where} must be a whole number.")
    if isinstance(value, int) and not 0 <= value <= most:
        raise refused(f"{where} must lie between 0 and {most:,}.")
