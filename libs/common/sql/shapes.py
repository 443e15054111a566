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
_MARKS: Final = re.compile(r"\A\s*(?:--|\#|//|/\*\+?)\s*|\s*\*/\s*\Z")
# What is glued to a literal may read otherwise after a `?`: the lexer looks again.
_GLUED: Final = rf"{HOLE}(?:[$@%.#{{\d]|:(?!:)|[a-zA-Z]{{1,2}}&?{HOLE})"
_FRACTION: Final = rf"(?<![\w$\"`\])?}}])\.{HOLE}"
_UNSURE: Final = re.compile(f"{_GLUED}|{_FRACTION}")
_DASHED: Final = re.compile(r"-\d")
_SIMPLE_BLOCK: Final = r"\*(?:[^*/]++|\*(?!/)|/(?!\*))*+\*/"
# A letter or `U&` before a hole is the prefix of a string, never a name before something else.
_NO_PREFIX: Final = r"(?<![uU]&.)"
_NO_LETTER: Final = r"(?<![\w$].)"
_NO_DASHED_NAME: Final = r"(?!(?<=-.)[\w-]*\.(?![eE]\d)[^\W\d])"
_LIST: Final = rf"(?:, ?{HOLE})++"
_BEFORE_LISTS: Final = "|".join(rf"(?<=[^\w$.@#]{word} ?\({HOLE})" for word in ("[iI][nN]", "[aA][nN][yY]"))
_LISTS: Final = re.compile(
    rf"{HOLE}(?:(?:{_BEFORE_LISTS.replace(' ?', ' ')}|{_BEFORE_LISTS.replace(' ?', '')}){_LIST}(?=\))"
    rf"|(?<=\[{HOLE}){_LIST}(?=\]))"
)
_ROWS: Final = re.compile(rf"(?<=[^\w$.@#][vV][aA][lL][uU][eE][sS] )(\({HOLE}(?:, ?{HOLE})*+\))(?:, ?\1)++")


class Shape(NamedTuple):
    """The text with holes, and what a BI tool wrote around the statement."""

    text: str
    comment: str | None


def join_comments(comments: Sequence[str]) -> str | None:
    """What stands in comments, without their marks; None for nothing."""
    text = "\n".join([_MARKS.sub("", comment) for comment in comments])[:_MAX_COMMENT]
    return UNSTORABLE.sub("\ufffd", text) or None


def fold_holes(text: str) -> str:
    """A shape in which lists that differ in length only are one list."""
    if ", \0" in text or ",\0" in text:
        text = _LISTS.sub(HOLE, text)
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
        if sql[:1] in _COMMENTED and self._leading(sql):
            comments, sql = self._peeled(sql)
        text = HOLE.join(self._split(sql)[:: self._stride])
        return text, join_comments(comments) if comments else None

    def _peeled(self, sql: str) -> tuple[list[str], str]:
        """The comments before a statement, and the rest."""
        comments: list[str] = []
        end = 0
        while lead := self._leading(sql, end):
            comments.append(lead[1])
            end = lead.end()
        return comments, sql[end:]

    def shape(self, sql: str, draft: str) -> Shape | None:
        """The shape of a statement (without NUL), whose draft this is; None where only the lexer can tell."""
        if not _storable(sql):
            return None
        comments, sql = self._peeled(sql)
        text = draft if self._is_shape(draft) else self._by_all_branches(sql, comments)
        return Shape(text, join_comments(comments)) if text is draft or self._is_shape(text) else None

    def canonical(self, text: str) -> str:
        """The same shape with single blanks outside quoted names and with short lists."""
        pieces = self._quoted.split(text)
        if len(pieces) == 1:
            return fold_holes(" ".join(text.split()).strip(" ;"))
        names = iter([*self._quoted.findall(text), ""])
        return fold_holes("".join(_BLANKS.sub(" ", piece) + next(names) for piece in pieces).strip(" ;"))

    def _is_shape(self, text: str) -> bool:
        """Whether nothing is left over that begins a literal or a comment, so that it can have no other meaning."""
        if any(HOLE in name for name in self._quoted.findall(text)) or _UNSURE.search(text):
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
    """The branch without what only the full pattern looks at: comments, quoted names, dollars, `.5`."""
    if branch.kind is Kind.OPEN:
        return branch._replace(first="".join(sign for sign in branch.first if sign in traits.strings))
    left_out = branch.kind in {Kind.COMMENT, Kind.IDENTIFIER} or branch.first in {"$", "."}
    return branch._replace(first="") if left_out else branch


def _for_split(branch: Branch, traits: Traits) -> Branch:
    """The branch with guards, so that texts which mean something else never have one shape."""
    kind, first, rest = branch
    if kind is Kind.COMMENT and first == "/" and traits.nested_comments:
        rest = _SIMPLE_BLOCK
    if kind is Kind.OPEN:
        rest += ".*"
    if kind is Kind.PLACEHOLDER or first in {_DIGITS, "."}:
        rest = _NO_PREFIX + rest
    if first in {"?", "{"}:
        rest = _NO_LETTER + rest
    if first == _DIGITS:
        rest = r"(?<!\?.)" + (_NO_DASHED_NAME if traits.dashed_names else "") + rest
    return Branch(kind, first, rest)


@cache
def shaper(dialect: Dialect) -> Shaper:
    return Shaper(dialect)
