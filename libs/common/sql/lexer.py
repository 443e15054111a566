"""One lexer per dialect: finds literals, quoted names, comments and driver placeholders in a statement.

Everything between the spans is plain text of words, operators and blanks. What a dialect knows is a
list of branches, each by its first character; the pattern begins with one class of all first characters,
so that the regex engine skips letters at the speed of C. A literal or comment that never ends takes the
whole rest. `shapes` compiles the same branches a second time, for speed.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from libs.common.sql.dialects import TRAITS, Dialect, Traits


class Kind(StrEnum):
    LITERAL = "literal"
    IDENTIFIER = "identifier"
    COMMENT = "comment"
    PLACEHOLDER = "placeholder"
    OPEN = "open"


_KINDS: Final[dict[str, Kind]] = {kind.value: kind for kind in Kind}


class Span(NamedTuple):
    kind: Kind
    start: int
    end: int


class Branch(NamedTuple):
    """What begins with one of the characters `first` and goes on as the pattern `rest`."""

    kind: Kind
    first: str
    rest: str


_NOT_IN_WORD: Final = r"(?<![\w$].)"
# A placeholder glued to one of these is an operator, a cast or a path: `a::int`, `src:name`, `x%s`.
_NOT_AFTER_OPERAND: Final = r"""(?<![\w"'`\])?:$}\[%].)"""
_COMMENT_EDGE: Final = re.compile(r"/\*|\*/")
_DASHED_HEAD: Final = re.compile(r"\b(?:from|join|into|update|table)\s+[a-z][\w-]*-\Z", re.IGNORECASE)
_DASHED_TAIL: Final = re.compile(r"\d[\w-]*\.(?![eE]\d)[^\W\d]\w*")
_FROM_OF_CALL: Final = re.compile(r"(?:\bdistinct|\([^()]*)\s+from\s+[a-z][\w-]*-\Z", re.IGNORECASE)
_PREFIX: Final = re.compile(r"(?<![\w$])(?:[eEnNxXbBrRqQ]|[nN][qQ]|[rR][bB]|[bB][rR]|[uU]&)\Z")


def spans(text: str, dialect: Dialect) -> Iterator[Span]:
    """Yield the special spans of a statement in order; they never overlap."""
    search, traits = _master(dialect).search, TRAITS[dialect]
    position = 0
    while match := search(text, position):
        kind, start, end = _KINDS[match.lastgroup or "open"], match.start(), match.end()
        if kind is Kind.COMMENT and traits.nested_comments and text.startswith("/*", start):
            end = _comment_end(text, start)
        elif kind is Kind.OPEN:
            start, end = _with_prefix(text, position, start), len(text)
        elif kind is Kind.LITERAL and text[start] in "'\"":
            start = _with_prefix(text, position, start)
        if not (traits.dashed_names and text[start - 1 : start] == "-" and _in_dashed_name(text, start)):
            yield Span(kind, start, end)
        position = end


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _in_dashed_name(text: str, digit: int) -> bool:
    """Whether this digit lies in an unquoted project name: `FROM my-project-1.data.orders`."""
    before = text[max(0, digit - 100) : digit]
    return bool(_DASHED_TAIL.match(text, digit) and _DASHED_HEAD.search(before) and not _FROM_OF_CALL.search(before))


def _with_prefix(text: str, low: int, start: int) -> int:
    prefix = _PREFIX.search(text, max(low, start - 3), start)
    return prefix.start() if prefix else start


@cache
def _master(dialect: Dialect) -> re.Pattern[str]:
    found = branches(TRAITS[dialect])
    groups = {kind: [branch for branch in found if branch.kind is kind] for kind in Kind}
    alternatives = "|".join(
        f"(?P<{kind}>{'|'.join(f'(?<={any_of(branch.first)}){branch.rest}' for branch in group)})"
        for kind, group in groups.items()
    )
    first = "".join(dict.fromkeys("".join(branch.first for branch in found)))
    return re.compile(f"{any_of(first)}(?:{alternatives})", re.DOTALL)


def any_of(characters: str) -> str:
    return f"[{re.escape(characters)}]"


def branches(traits: Traits) -> list[Branch]:
    """All that is special in a dialect; of branches with the same first character the earlier one wins."""
    literals = [*_strings(traits), *_dollar_strings(traits), *_numbers(traits)]
    return [
        *(Branch(Kind.COMMENT, *found) for found in _comments(traits)),
        *(Branch(Kind.LITERAL, *found) for found in literals),
        *(Branch(Kind.IDENTIFIER, *found) for found in _identifiers(traits)),
        *(Branch(Kind.PLACEHOLDER, *found) for found in _placeholders(traits)),
        *(Branch(Kind.OPEN, *found) for found in _openers(traits)),
    ]


def _comments(traits: Traits) -> list[tuple[str, str]]:
    line = r"[^\r\n]*+" if traits.return_ends_comment else r"[^\n]*+"
    dash = r"-(?=\s|[\x00-\x20]|\Z)" if traits.dash_needs_blank else "-"
    found = [("-", dash + line)]
    if "#" in traits.line_comments:
        found.append(("#", line))
    if "//" in traits.line_comments:
        found.append(("/", "/" + line))
    block = r"\*" if traits.nested_comments else r"\*(?:[^*]++|\*(?!/))*+\*/"
    return [*found, ("/", block)]


def _strings(traits: Traits) -> list[tuple[str, str]]:
    found = [("'", _q_quotes())] if traits.q_quotes else []
    for quote in traits.strings:
        if traits.triple:
            found.append((quote, rf"{quote}{quote}(?:[^{quote}\\]++|\\.|{quote}(?!{quote}{quote}))*+{quote * 3}"))
        found += [(quote, _prefixed(letter, quote, _escaped(quote))) for letter in traits.escape_prefixes]
        found += [(quote, _prefixed(letter, quote, rf"[^{quote}]*+{quote}")) for letter in traits.raw_prefixes]
        body = _escaped(quote) if traits.backslash else _doubled(quote)
        found.append((quote, _plain_guard(traits, quote) + body))
    return found


def _prefixed(letter: str, quote: str, body: str) -> str:
    return rf"(?<=[{letter.lower()}{letter.upper()}](?<![\w$].){quote}){body}"


def _plain_guard(traits: Traits, quote: str) -> str:
    """Keep an unterminated E'…', q'[…' or triple quote from being read again as a plain string."""
    guard = f"(?!{quote}{quote})" if traits.triple else ""
    letters = traits.escape_prefixes + traits.raw_prefixes + ("q" if traits.q_quotes else "")
    if letters:
        guard += rf"(?<![{letters}{letters.upper()}](?<![\w$].){quote})"
    if traits.q_quotes:
        guard += rf"(?<!(?<![\w$])[nN][qQ]{quote})"
    return guard


def _q_quotes() -> str:
    lead = r"(?:(?<=(?<![\w$])[qQ]')|(?<=(?<![\w$])[nN][qQ]'))"
    pairs = [(r"\[", r"\]"), (r"\{", r"\}"), (r"\(", r"\)"), ("<", ">")]
    bodies = [rf"{a}(?:[^{b}]++|{b}(?!'))*+{b}'" for a, b in pairs]
    return rf"{lead}(?:{'|'.join(bodies)}|(?P<q>[^\s\[{{(<]).*?(?P=q)')"


def _escaped(quote: str) -> str:
    return rf"[^{quote}\\]*+(?:{quote}(?!{quote})|(?:[^{quote}\\]++|\\.|{quote}{quote})*+{quote})"


def _doubled(quote: str) -> str:
    return rf"[^{quote}]*+{quote}(?:{quote}[^{quote}]*+{quote})*+(?!{quote})"


def _dollar_strings(traits: Traits) -> list[tuple[str, str]]:
    if traits.dollar == "plain":
        return [("$", rf"{_NOT_IN_WORD}\$.*?\$\$")]
    if traits.dollar == "tagged":
        return [("$", rf"{_NOT_IN_WORD}(?P<tag>[^\W\d]\w*+|)\$.*?\$(?P=tag)\$")]
    return []


def _numbers(traits: Traits) -> list[tuple[str, str]]:
    tail = r"[\w$]*+(?:(?<=[eE])[+-]\d[\w$]*+)?"
    fraction = rf"(?<![\w$\"`\])?}}].)\d{tail}"
    whole = rf"{tail}(?:\.{tail})?"
    if traits.digit_identifiers:
        # `2024_orders` and `sales.2024orders` are names; `4711and` is taken for a number, to be safe.
        name = r"(?:(?=[\w$]*_)|(?<=[\w`]\.\d))[\d_]*[^\W\d_]"
        whole = rf"(?:(?<=0)[xX][\w$]*+|(?!{name}){whole})"
    return [("0123456789", _NOT_IN_WORD + whole), (".", fraction)]


def _identifiers(traits: Traits) -> list[tuple[str, str]]:
    found = []
    for quote in traits.identifiers:
        if quote == "[":
            found.append((quote, r"[^\]]*+(?:\]\][^\]]*+)*+\]"))
        else:
            found.append((quote, _escaped(quote) if traits.identifier_backslash else _doubled(quote)))
    return found


def _placeholders(traits: Traits) -> list[tuple[str, str]]:
    found = [
        ("?", r"\d++"),
        (":", rf"{_NOT_AFTER_OPERAND}\w[\w$]*+"),
        ("%", rf"{_NOT_AFTER_OPERAND}(?:s|\([^()'\"]*+\)s)(?![\w$])"),
    ]
    if not traits.dollar_columns:
        found.append(("$", rf"{_NOT_IN_WORD}\d[\w$]*+"))
    if traits.dollar_names:
        found.append(("$", rf"{_NOT_IN_WORD}[^\W\d]\w*+(?!\$)"))
    if traits.at_names:
        found.append(("@", r"(?<![\w@$].)[^\W\d][\w$]*+"))
    if traits.brace_parameters:
        found.append(("{", r"\s*+\w++\s*+:[^{}'\"]*+\}"))
    return found


def _openers(traits: Traits) -> list[tuple[str, str]]:
    found = [("".join(dict.fromkeys(traits.strings + traits.identifiers)), "")]
    if not traits.nested_comments:
        found.append(("/", r"\*"))
    if traits.dollar == "plain":
        found.append(("$", rf"{_NOT_IN_WORD}\$"))
    if traits.dollar == "tagged":
        found.append(("$", rf"{_NOT_IN_WORD}(?:[^\W\d]\w*+)?\$"))
    return found
