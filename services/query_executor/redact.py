"""Secret values must not leave: rows, errors and records are scanned for them, and for their hex and base64 forms.

Rows are scanned as the JSON that they become, which is fast; only a batch with a find is looked at cell by cell.
This is the net below the rule that a secret may stand against a column only.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

REDACTED: Final = "[redacted]"
SHORTEST: Final = 6
_DIGITS: Final = re.compile(rb"[0-9.,:eETZ+-]+")
_INFINITY: Final = b"-infinity"


def _base64_cores(raw: bytes) -> set[str]:
    """What base64 of any text around a secret shows of it, at each of the three places where it may begin."""
    cores = set[str]()
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        first, behind = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        core = encoded[first:behind]
        cores |= {core, core.replace("+", "-").replace("/", "_")}
    return cores


def forms(secret: str) -> set[str]:
    """A secret as it may show: itself, hex, base64."""
    raw = secret.encode("utf-8", "surrogatepass")
    return {secret, raw.hex(), raw.hex().upper(), *_base64_cores(raw)}


def _alternation(texts: Iterable[str]) -> str:
    return "|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))


@dataclass(frozen=True, slots=True, repr=False)
class Redactor:
    """Knows the secrets of one execution; shorter ones than six characters are not looked for."""

    text: re.Pattern[str] | None
    encoded: tuple[bytes, ...]

    @classmethod
    def of(cls, secrets: Iterable[str]) -> "Redactor":
        """Compile once an execution, or once a secret version."""
        found = {form for secret in secrets if len(secret) >= SHORTEST for form in forms(secret)}
        if not found:
            return cls(None, ())
        # JSON writes a quote or a backslash of a secret with another backslash, in text within text once more.
        escaped = found | {_escaped(form) for form in found}
        json_forms = {_escaped(form) for form in escaped} | escaped
        return cls(
            re.compile(_alternation(escaped)), tuple(form.encode("utf-8", "surrogatepass") for form in json_forms)
        )

    def in_text(self, text: str) -> str:
        """A text without secrets."""
        return self.text.sub(REDACTED, text) if self.text else text

    @property
    def numeric(self) -> bool:
        """Whether a secret may show in the digits of a number or a time."""
        return any(_DIGITS.fullmatch(form) or form in _INFINITY for form in self.encoded)

    def shows(self, written: bytes) -> bool:
        """Whether JSON or CSV may hold a secret."""
        # One search each is faster than one pattern for all of them.
        return any(form in written for form in self.encoded) or any(
            form.replace(b'"', b'""') in written for form in self.encoded if b'"' in form
        )

    def rows(self, rows: list[dict[str, Any]], dumped: bytes) -> bytes | None:
        """None where the JSON of these rows shows no secret, else that JSON without it."""
        if not self.shows(dumped):
            return None
        return orjson.dumps([self.value(row) for row in rows], option=orjson.OPT_UTC_Z)

    def value(self, value: Any) -> Any:
        """A value without secrets, however deep; what is no text and shows one is replaced as a whole."""
        if self.text is None or value is None:
            return value
        if isinstance(value, str):
            return self.text.sub(REDACTED, value)
        if isinstance(value, Mapping):
            return {self.value(name): self.value(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner) for inner in value]
        shown = orjson.dumps(value, option=orjson.OPT_UTC_Z).decode().strip('"')
        return REDACTED if self.text.search(shown) else value


def _escaped(text: str) -> str:
    return orjson.dumps(text).decode()[1:-1]
