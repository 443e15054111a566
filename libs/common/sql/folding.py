"""What is folded once literals are gone: signs, lists, and secrets that are no literals.

The patterns run over anonymised text; each skips quoted names by its first branch.
"""

import re
from functools import cache, partial
from typing import Final

from libs.common.sql.dialects import Traits

_BEFORE_SIGN: Final = (
    "select|distinct|all|where|and|or|not|on|having|when|then|else|case|between|in|like|ilike|is|limit|offset|"
    "fetch|top|by|set|values|return|returning|interval|default|using|as|union|except|intersect|xor|div|mod|to|with"
)
_PASSWORD_HEAD: Final = re.compile(
    r"\s*(?:create|alter)\s+(?:or\s+\w+\s+)?(?:user|role|login|group|profile|account)\b", re.IGNORECASE
)
# What there is to fold has one of these; they are found sooner than the rest.
_SIGNED: Final = re.compile(r"[-+]\s*+\?")
_SEVERAL_ROWS: Final = re.compile(r"\)\s*+,\s*+(?:\(|row)", re.IGNORECASE)
_INLINE_DATA: Final = re.compile(
    r"\A(?:insert\b.*?\bformat\s+(?:csv|tsv|json|tabsep|custom|rowb|native|lineas|rawb|msgpack|template|regexp|values)\w*+"
    r"|copy\b.*?\bfrom\s+stdin\b[^;]*;)(?P<data>.*)\Z",
    re.IGNORECASE | re.DOTALL,
)


def fold_signs(text: str, traits: Traits) -> str:
    """Take the sign of a number into its `?`; `a - ?` stays, being a subtraction."""
    if not _SIGNED.search(text):
        return text
    return _signs(traits.quoted).sub(_without_sign, text)


def fold_lists(text: str, traits: Traits) -> str:
    """`IN (?, ?)` to `IN (?)`, `[?, ?]` to `[?]`, and equal rows of VALUES or of a row-wise IN to one."""
    before = ""
    while before != text:
        before = text
        text = _lists(traits.quoted).sub(_one_hole, text)
        if _SEVERAL_ROWS.search(text):
            text = _rows(traits.quoted).sub(partial(_equal_rows_once, quoted=traits.quoted), text)
    return text


def scrub_secrets(text: str, traits: Traits) -> str:
    """Passwords written as plain words or names, and rows of data that follow a statement."""
    if match := _INLINE_DATA.match(text):
        text = text[: match.start("data")]
    low = text.lower()
    if "identified" not in low and "password" not in low:
        return text
    return _secrets(traits.quoted, bool(_PASSWORD_HEAD.match(text))).sub(
        lambda m: f"{m['lead']}?" if m["lead"] else m[0], text
    )


@cache
def _signs(quoted: str) -> re.Pattern[str]:
    lead = rf"\A|[=<>(,*/%^&|~!\[{{;:+-]|(?<![\w$.@#])(?:{_BEFORE_SIGN})(?![\w$])"
    return re.compile(
        rf"{quoted}|(?P<lead>{lead})(?P<blank>\s*+)(?P<signs>(?:[-+]\s*+)++)(?P<value>\?)?", re.IGNORECASE
    )


def _without_sign(match: re.Match[str]) -> str:
    return f"{match['lead']}{match['blank']}?" if match["value"] else match[0]


@cache
def _lists(quoted: str) -> re.Pattern[str]:
    """Each alternative begins with a fixed character, so that the engine looks for all of them at once."""
    holes = r"\s*+\?(?:\s*+,\s*+\?)*+\s*+"
    words = [word + blank for word in ("[iI][nN]", "[aA][nN][yY]") for blank in (" ", "")]
    lead = "|".join(rf"(?<={word}\()(?<![\w$.@#]{word}\()" for word in words)
    return re.compile(rf"{quoted}|(?P<list>\()(?:{lead}){holes}\)|(?P<array>\[){holes}\]")


def _one_hole(match: re.Match[str]) -> str:
    if match["list"]:
        return "(?)" if match.string[match.start() - 1] == " " else " (?)"
    return "[?]" if match["array"] else match[0]


@cache
def _row(quoted: str) -> str:
    row = rf"\((?>(?:[^()\"'`\[]++|{quoted}|\[)*)\)"
    for _ in range(3):
        row = rf"\((?>(?:[^()\"'`\[]++|{quoted}|\[|{row})*)\)"
    return row


@cache
def _rows(quoted: str) -> re.Pattern[str]:
    row = rf"(?:row\s*+)?{_row(quoted)}"
    lead = r"(?<![\w$.@#])(?:values\s*+|in\s*+\(\s*+)"
    return re.compile(rf"{quoted}|(?P<lead>{lead})(?P<rows>{row}(?:\s*+,\s*+{row})++)", re.IGNORECASE)


@cache
def _one_row(quoted: str) -> re.Pattern[str]:
    return re.compile(rf"(?:row\s*+)?{_row(quoted)}", re.IGNORECASE)


def _equal_rows_once(match: re.Match[str], quoted: str) -> str:
    if not match["lead"]:
        return match[0]
    kept: list[str] = []
    last = ""
    for row in _one_row(quoted).finditer(match["rows"]):
        key = "".join(row[0].split())
        if key != last:
            kept.append(row[0])
        last = key
    return match["lead"] + ", ".join(kept)


@cache
def _secrets(quoted: str, of_role: bool) -> re.Pattern[str]:
    lead = r"(?<![\w$])identified\s+by(?:\s+values|\s+password)?+\s+"
    if of_role:
        options = "expire|null|for|require|history|reuse|never|default|interval|as"
        lead += rf"|(?<![\w$])password(?![\w$])\s*+=?\s*+(?!(?:{options})\b)"
    plain = rf"(?:{quoted}|[\w$#!@^&*+-]+)"
    return re.compile(rf"(?P<lead>{lead}){plain}|{quoted}", re.IGNORECASE)
