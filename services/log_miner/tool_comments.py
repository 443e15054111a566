"""The user behind a service account, as BI tools write it into a comment of their SQL. Pure."""

import re
from dataclasses import dataclass

_WORD = r"[^\s,;*'\"]+"


@dataclass(frozen=True, slots=True)
class CommentFormat:
    """How one tool names its user. `user` has one group; `shown` is a template of executed_by."""

    tool: str
    user: re.Pattern[str]
    shown: str = "{}"


FORMATS: tuple[CommentFormat, ...] = (
    CommentFormat("metabase", re.compile(r"Metabase::\s*userID:\s*(\d+)"), "metabase:{}"),
    CommentFormat("looker", re.compile(r"Looker Query Context\s+'?\{[^}]*\"user_id\":\s*\"?(\d+)"), "looker:{}"),
    CommentFormat("hex", re.compile(r"Hex query metadata:\s*\{[^}]*\"user_email\":\s*\"([^\"]+)\"")),
    CommentFormat("mode", re.compile(r"\{\"user\":\s*\"@?[^\"]*\",\s*\"email\":\s*\"([^\"]+)\"")),
    CommentFormat("redash", re.compile(rf"Username:\s*({_WORD}),\s*Query ID:")),
    CommentFormat("superset", re.compile(rf"\[SQL LAB\]\s+({_WORD})")),
    # dbt, sqlcommenter and hand-written conventions: `/* user: ada */`, `-- user='ada'`.
    CommentFormat("generic", re.compile(rf"\b(?:user|username|user_email)\s*[:=]\s*['\"]?({_WORD})", re.IGNORECASE)),
)
_LONGEST_USER = 320  # an e-mail address


def commented_user(comment: str | None) -> str | None:
    """Who ran a statement according to the comment around it; None where no tool left a name."""
    if not comment:
        return None
    for known in FORMATS:
        found = known.user.search(comment)
        if found and len(found[1]) <= _LONGEST_USER:
            return known.shown.format(found[1])
    return None
