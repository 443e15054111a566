"""Which format a request asks for by `Accept`."""

from collections.abc import Callable, Mapping
from typing import Final

from libs.common.errors import TidemarkError
from services.query_executor.formats import Writer, arrow, ndjson, separated

JSON: Final = "application/json"
WRITERS: Final[Mapping[str, Callable[[], Writer]]] = {
    ndjson.MEDIA_TYPE: ndjson.NdjsonWriter,
    separated.MEDIA_TYPE: separated.CsvWriter,
    **({arrow.MEDIA_TYPE: arrow.ArrowWriter} if arrow.AVAILABLE else {}),
}
MEDIA_TYPES: Final = (JSON, *WRITERS)
_ANYTHING: Final = (None, "", "*/*", JSON)


class NotAcceptable(TidemarkError):
    """No format that the client takes can be written."""

    status = 406
    code = "NotAcceptable"


def chosen(accept: str | None) -> str:
    """The media type that the client likes best; of equal ones that which stands first here. Raises NotAcceptable."""
    if accept in _ANYTHING:
        return JSON
    wishes = [_wish(part) for part in (accept or "*/*").split(",") if part.strip()] or [("*/*", 1.0)]
    liked = {media: _liking(media, wishes) for media in MEDIA_TYPES}
    best = max(liked, key=lambda media: liked[media])
    if liked[best] <= 0:
        raise NotAcceptable(f"A result can be had as {', '.join(MEDIA_TYPES)}.")
    return best


def _wish(part: str) -> tuple[str, float]:
    media, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media, float(value)
            except ValueError:
                return media, 0.0
    return media, 1.0


def _liking(media: str, wishes: list[tuple[str, float]]) -> float:
    """The most exact wish counts."""
    given = dict(wishes)
    for pattern in (media, media.split("/")[0] + "/*", "*/*"):
        if pattern in given:
            return given[pattern]
    return 0.0
