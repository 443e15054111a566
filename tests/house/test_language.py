"""No loose ends and nothing of the place where a file was written."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.tree import ROOT, files, none

# Written apart, so that this file passes.
LOOSE_ENDS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
PLACES = re.compile(r"(?<![\w.])/(wo" r"rk|ro" r"ot|ho" r"me/\w+)/")
WORKPLACE = re.compile(
    r"\b(hel" r"per session|sub" r"agent|cla" r"ude|anth" r"ropic|lang" r"uage model)\b", re.IGNORECASE
)
TEXT = {".py", ".md", ".sql", ".toml", ".yml", ".yaml", ".json", ".env", ".html", ".cfg", ".ini", ".sh", ".txt", ""}


def found() -> Iterator[tuple[Path, int, str]]:
    for path in files():
        if path.name == "uv.lock" or path.suffix not in TEXT:
            continue
        for number, line in enumerate((ROOT / path).read_text().split("\n"), 1):
            yield from (
                (path, number, match[0]) for rule in (LOOSE_ENDS, PLACES, WORKPLACE) for match in rule.finditer(line)
            )


def test_no_loose_ends_and_no_workplace() -> None:
    none(found())
