"""CSV as RFC 4180 has it, lines ended by LF. A cell that a spreadsheet would take for a formula gets a `'` in front."""

import re
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
# Long numbers arrive as text, and are none the less numbers.
_HARMLESS: Final = re.compile(r"-(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|infinity)\Z")
_SPECIAL: Final = re.compile(r'[",\n\r]')


def text_cell(text: str) -> str:
    """A text, safe for spreadsheets, quoted where it must be; the empty text is `""`."""
    if text.startswith(_FORMULA) and not _HARMLESS.match(text):
        text = "'" + text
    if not text or _SPECIAL.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def line(*cells: str | int | float) -> str:
    """A row of texts and numbers with its LF; numbers are untouched."""
    return ",".join(text_cell(each) if isinstance(each, str) else str(each) for each in cells) + "\n"
