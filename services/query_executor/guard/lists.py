"""Lists of words in the files of `lists/`: sections of names, `#` begins a comment."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent / "lists"
_SECTION: Final = re.compile(r"^\[(\w+)\]", re.MULTILINE)
_COMMENT: Final = re.compile(r"#.*")


@cache
def sections(name: str) -> Mapping[str, frozenset[str]]:
    """The sections of one file."""
    _, *parts = _SECTION.split(_COMMENT.sub("", (_FOLDER / f"{name}.txt").read_text()))
    return {title: frozenset(words.split()) for title, words in zip(parts[::2], parts[1::2], strict=True)}
