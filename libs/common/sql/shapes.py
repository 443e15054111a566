"""The shape of a statement: its text with a NUL for each literal, found in one pass of the regex engine.

Statements of one shape have one anonymised text, so all that follows is looked up by the shape. It comes
from `split` over the lexer's own branches, without a step of Python for each span. What that cannot do
(nested comments, `FROM my-project-1.d.t`) has no shape and goes to the lexer.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Final, NamedTuple

from libs.common.sql.dialects import TRAITS, Dialect, Traits
from libs.common.sql.lexer import Branch, Kind, branches

HOLE: Final = "\0"
_MAX_COMMENT: Final = 16 * 1024
_BLANK: Final = "; \t\r\n\f\v"
_COMMENTED: Final = frozenset(_BLANK + "-/#")
_DIGITS: Final = "0123456789"
UNSTORABLE: Final = re.compile("[\ud800-\udfff]")
_MARK: Final = re.compile(r"\s*(?:--|\#|//|/\*\+?)\s*")
# What is glued to a literal may read otherwise after a `?`: the lexer looks again.
_GLUED: Final = rf"{HOLE}(?:[$@%.#{{\d]|:(?!:)|[a-zA-Z]{{1,2}}&?{HOLE})"
# `U&` before a hole is the prefix of a string or an operator, a dot begins a fraction. Each pattern begins with a
# fixed character, which the engine looks for first.
_UNSURE: Final = tuple(
    re.compile(found) for found in (_GLUED, rf"\.{HOLE}(?<![\w$\"`\])?}}]..)", f"&{HOLE}(?<=[uU]..)")
)
_DASHED: Final = re.compile(r"-\d")
_SIMPLE_BLOCK: Final = r"\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/"
# A letter before a hole is the prefix of a string, never a name before something else.
_NO_LETTER: Final = r"(?<![\w$].)"
_NO_DASHED_NAME: Final = r"(?!(?<=-.)[\w-]*\.(?![eE]\d)[^\W\d])"
# An integer, which is what most numbers are; what else a digit begins takes more looking.
_INTEGER: Final = r"\d*+(?![\w$.-])"
_NOT_IN_NUMBER: Final = r"(?<![\w$?].)"
_LIST: Final = rf"(?:, ?{HOLE})++"
_BEFORE_LISTS: Final = "|".join(
    rf"(?<=[^\w$.@#]{word}\({HOLE})" for word in ("[iI][nN] ", "[iI][nN]", "[aA][nN][yY] ", "[aA][nN][yY]")
)
_LISTS: Final = re.compile(rf"\({HOLE}(?=,)(?:{_BEFORE_LISTS}){_LIST}\)")
_ARRAYS: Final = re.compile(rf"\[{HOLE}{_LIST}\]")
_ROWS: Final = re.compile(rf"(\({HOLE}(?<=[^\w$.@#][vV][aA][lL][uU][eE][sS] \({HOLE})(?:, ?{HOLE})*+\))(?:, ?\1)++")
_ODD_BLANKS: Final = re.compile(r"\s\s|[^\S ]")


class Shape(NamedTuple):
    """The text with holes, and what a BI tool wrote around the statement."""

    text: str
    comment: str | None


def join_comments(comments: Sequence[str]) -> str | None:
    """What stands in comments, without their marks; None for nothing."""
    text = "\n".join([_unmarked(comment) for comment in comments])[:_MAX_COMMENT]
    return (text if text.isascii() else UNSTORABLE.sub("\ufffd", text)) or None


def _unmarked(comment: str) -> str:
    mark = _MARK.match(comment)
    text = comment[mark.end() :] if mark else comment
    end = text.rstrip()
    return end[:-2].rstrip() if end.endswith("*/") else text


def fold_holes(text: str) -> str:
    """A shape in which lists that differ in length only are one list."""
    if ", \0" in text or ",\0" in text:
        text = _LISTS.sub(f"({HOLE})", text)
        if f"[{HOLE}," in text:
            text = _ARRAYS.sub(f"[{HOLE}]", text)
        if "), (\0" in text or "),(\0" in text:
            text = _ROWS.sub(r"\1", text)
    return text


class _Pattern:
    """Branches compiled for `split`: after each stretch of plain text comes one piece for each group."""

    def __init__(self, found: Sequence[Branch]) -> None:
        alternatives: list[str] = []
        self.names: list[tuple[int, str]] = []
        self.comments: list[tuple[int, str]] = []
        groups = 0
        for kind, first, rest in found:
            kept = {Kind.IDENTIFIER: self.names, Kind.COMMENT: self.comments}.get(kind)
            if kept is not None:
                kept.append((groups + 1, first))
                rest = f"({rest})"
            # The engine looks for all first characters at once only where each alternative begins with one.
            alternatives += [re.escape(character) + rest for character in first]
            groups += re.compile(rest).groups
        self.split = re.compile("|".join(alternatives), re.DOTALL).split
        self.stride = groups + 1


class Shaper:
    """Finds the shapes of one dialect's statements."""

    def __init__(self, dialect: Dialect) -> None:
        traits = TRAITS[dialect]
        found = [_for_split(branch, traits) for branch in branches(traits)]
        # Digits are what the engine stops at most often.
        found.sort(key=lambda branch: branch.first != _DIGITS)
        self._plain = _Pattern([branch for branch in map(partial(_in_plain, traits), found) if branch.first])
        self._full = _Pattern(found)
        self._split, self._stride = self._plain.split, self._plain.stride
        self._quoted = re.compile(traits.quoted, re.DOTALL)
        self._left_over = (*traits.line_comments, "/*", "$", *traits.strings, *traits.identifiers)
        self._dashed = traits.dashed_names
        comments = [re.escape(branch.first) + branch.rest for branch in found if branch.kind is Kind.COMMENT]
        self._leading = re.compile(rf"[{_BLANK}]*+({'|'.join(comments)})", re.DOTALL).match

    def draft(self, sql: str) -> tuple[str, str | None]:
        """The shape of an ordinary statement (without NUL); of others a text that is no statement's shape."""
        comments: list[str] | None = None
        if sql[:1] in _COMMENTED:
            comments, sql = self._peeled(sql)
        parts = self._split(sql)
        text = HOLE.join(parts if self._stride == 1 else parts[:: self._stride])
        return text, join_comments(comments) if comments else None

    def _peeled(self, sql: str) -> tuple[list[str], str]:
        """The comments before a statement, and the rest from its first word on."""
        comments: list[str] = []
        end = 0
        while lead := self._leading(sql, end):
            comments.append(lead[1])
            end = lead.end()
        return comments, sql[end:].lstrip(_BLANK)

    def shape(self, sql: str, draft: str) -> Shape | None:
        """The shape of a statement (without NUL), whose draft this is; None where only the lexer can tell."""
        if not _storable(sql):
            return None
        comments, sql = self._peeled(sql)
        text = draft if self._is_shape(draft) else self._by_all_branches(sql, comments)
        return Shape(text, join_comments(comments)) if text is draft or self._is_shape(text) else None

    def canonical(self, text: str) -> str:
        """The same shape with single blanks outside quoted names and with short lists."""
        names = self._quoted.findall(text)
        if not _ODD_BLANKS.search("".join(names)):
            return fold_holes(" ".join(text.split()).strip(" ;"))
        pairs = zip(self._quoted.split(text), [*names, ""], strict=True)
        return fold_holes("".join(_BLANKS.sub(" ", piece) + name for piece, name in pairs).strip(" ;"))

    def _is_shape(self, text: str) -> bool:
        """Whether nothing is left over that begins a literal or a comment, so that it can have no other meaning."""
        if HOLE in "".join(self._quoted.findall(text)) or any(unsure.search(text) for unsure in _UNSURE):
            return False
        rest = self._quoted.sub(".", text)
        return not any(sign in rest for sign in self._left_over) and not (self._dashed and _DASHED.search(rest))

    def _by_all_branches(self, sql: str, comments: list[str]) -> str:
        parts, stride = self._full.split(sql), self._full.stride
        plain = parts[::stride]
        between = [HOLE] * (len(plain) - 1) + [""]
        outside: dict[int, str] = {}
        for group, first in self._full.names:
            _fill(between, parts[group::stride], first)
        for group, first in self._full.comments:
            outside |= {at: first + rest for at, rest in enumerate(parts[group::stride]) if rest is not None}
        for at in outside:
            between[at] = " "
        comments += _trailing(plain, outside)
        return "".join([piece for pair in zip(plain, between, strict=True) for piece in pair])


_BLANKS: Final = re.compile(r"\s+")


def _fill(between: list[str], pieces: Sequence[str | None], first: str) -> None:
    for at, rest in enumerate(pieces):
        if rest is not None:
            between[at] = first + rest


def _trailing(plain: Sequence[str], comments: Mapping[int, str]) -> list[str]:
    """The comments after which nothing else comes."""
    trailing: list[str] = []
    for at in range(len(plain) - 2, -1, -1):
        if plain[at + 1].strip(_BLANK) or at not in comments:
            break
        trailing.insert(0, comments[at])
    return trailing


def _storable(sql: str) -> bool:
    if sql.isascii():
        return True
    try:
        sql.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_plain(traits: Traits, branch: Branch) -> Branch:
    """The branch without what only the full pattern looks at: comments, quoted names, `.5`."""
    if branch.kind is Kind.OPEN:
        return branch._replace(first="".join(sign for sign in branch.first if sign in traits.strings))
    left_out = branch.kind in {Kind.COMMENT, Kind.IDENTIFIER} or branch.first == "."
    return branch._replace(first="") if left_out else branch


def _for_split(branch: Branch, traits: Traits) -> Branch:
    """The branch with guards, so that texts which mean something else never have one shape."""
    kind, first, rest = branch
    if kind is Kind.COMMENT and first == "/" and traits.nested_comments:
        rest = _SIMPLE_BLOCK
    if kind is Kind.OPEN:
        rest += ".*"
    if first in {"?", "{"}:
        rest = _NO_LETTER + rest
    if first == _DIGITS:
        rest = f"{_NOT_IN_NUMBER}(?:{_INTEGER}|{_NO_DASHED_NAME if traits.dashed_names else ''}{rest})"
    return Branch(kind, first, rest)


@cache
def shaper(dialect: Dialect) -> Shaper:
    return Shaper(dialect)
