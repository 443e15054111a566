"""CloudEvents 1.0 over HTTP: structured, binary and batched mode. Pure."""

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Meta

from libs.common.errors import Unprocessable, UnsupportedMedia

Mode = Literal["structured", "batched", "binary"]
RawHeaders = Sequence[tuple[bytes, bytes]]

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
MAX_ID: Final = 512
MAX_SOURCE: Final = 1024
MAX_TYPE: Final = 255
_TEXTS: Final = {"id": MAX_ID, "source": MAX_SOURCE, "type": MAX_TYPE, "subject": MAX_SOURCE}
_TRACEPARENT: Final = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_ESCAPED: Final = re.compile(rb"\\(.)")
_PREFIX: Final = b"ce-"
_ENCODINGS: Final = frozenset({"utf-8", "utf8", "us-ascii"})
_FORMS: Final = (
    f"Send `{STRUCTURED}`, `{BATCHED}`, or JSON with the attributes in headers (`ce-specversion: 1.0` and so on);"
    " in UTF-8, not compressed."
)
_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_json: Final = msgspec.json.Decoder()
_items: Final = msgspec.json.Decoder(list[msgspec.Raw])
_PLAIN: Final = frozenset({None, "application/json"})
_NUL: Final = b"\\u0000"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field, and what would be right. Never holds the value."""

    field: str
    message: str


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An event as its sender wrote it, without extensions but the trace."""

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
    source: Annotated[str, Meta(min_length=1, max_length=MAX_SOURCE)]
    type: Annotated[str, Meta(min_length=1, max_length=MAX_TYPE)]
    data: dict[str, Any]
    time: Annotated[datetime, Meta(tz=True)] | None = None
    subject: Annotated[str, Meta(min_length=1, max_length=MAX_SOURCE)] | None = None
    datacontenttype: str | None = None
    traceparent: str | None = None

    @property
    def trace(self) -> str | None:
        """Its W3C `traceparent`, where that is one."""
        return self.traceparent if self.traceparent and _TRACEPARENT.fullmatch(self.traceparent) else None


class _Structured(CloudEvent, frozen=True, kw_only=True, gc=False):
    specversion: Literal["1.0"]  # must be told


class Invalid(Exception):
    """An event that cannot be taken; `id` where it tells one."""

    def __init__(self, problems: Iterable[Problem], id: str | None = None) -> None:
        self.problems = tuple(problems)
        self.id = id
        super().__init__("; ".join(f"{each.field}: {each.message}" for each in self.problems))


_structured: Final = msgspec.json.Decoder(_Structured)


def mode_of(headers: RawHeaders) -> Mode:
    """How a request carries its events. Raises UnsupportedMedia."""
    named = {name: value for name, value in headers if name in (b"content-type", b"content-encoding")}
    kind, charset = _media_type(named.get(b"content-type", b""))
    if charset not in _ENCODINGS or named.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _unsupported()
    if kind == STRUCTURED:
        return "structured"
    if kind == BATCHED:
        return "batched"
    if not _is_json(kind) or kind.startswith("application/cloudevents"):
        raise _unsupported()
    if not any(name == b"ce-specversion" for name, _ in headers):
        raise _unsupported()
    return "binary"


def _unsupported() -> UnsupportedMedia:
    return UnsupportedMedia(_FORMS, headers={"Accept-Post": f"{STRUCTURED}, {BATCHED}, application/json"})


def _media_type(value: bytes) -> tuple[str, str]:
    """Type and charset, both in lower case."""
    kind, *parameters = value.decode("latin-1").lower().split(";")
    named = dict(each.strip().partition("=")[::2] for each in parameters)
    return kind.strip(), named.get("charset", "utf-8").strip('"')


def _is_json(kind: str) -> bool:
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def read_structured(body: bytes) -> CloudEvent:
    """An event with its attributes and data in one JSON object. Raises Invalid."""
    if _NUL not in body:
        with suppress(*_REFUSED):
            event = _structured.decode(body)
            if event.datacontenttype in _PLAIN:
                return event
    return _slowly(body)


def _slowly(body: bytes) -> CloudEvent:
    """The same; takes what is written in less usual ways, and tells what is wrong."""
    try:
        event = _json.decode(body)
    except _REFUSED:
        raise Invalid([Problem("event", "must be a JSON object in UTF-8")]) from None
    if not isinstance(event, dict):
        raise Invalid([Problem("event", "must be a JSON object")])
    if event.get("data") is None and isinstance(event.get("data_base64"), str):
        return _event(event, _decoded(event["data_base64"], event))
    return _event(event, event.get("data"))


def split_batch(body: bytes) -> list[bytes]:
    """The events of a batch, each yet to be read. Raises Unprocessable."""
    try:
        return [bytes(each) for each in _items.decode(body)]
    except _REFUSED:
        raise Unprocessable("body: must be a JSON array of CloudEvents") from None


def read_binary(headers: RawHeaders, body: bytes) -> CloudEvent:
    """An event with its attributes in headers. Raises Invalid."""
    attributes: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(_PREFIX):
            attribute = name[len(_PREFIX) :].decode("latin-1")
            if attribute in attributes:
                raise Invalid([Problem(attribute, "must be sent once")])
            attributes[attribute] = _decoded_header(value)
    return _event(attributes, _data(body, attributes))


def _decoded_header(value: bytes) -> str:
    """Without the quotes that a header may have, percent-decoded."""
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value).decode("utf-8", "replace")


def _decoded(text: str, attributes: Mapping[str, Any]) -> Any:
    try:
        return _data(b64decode(text, validate=True), attributes)
    except ValueError:
        raise Invalid([Problem("data_base64", "must be JSON in base64")], _id(attributes)) from None


def _data(body: bytes, attributes: Mapping[str, Any]) -> Any:
    try:
        return _json.decode(body)
    except _REFUSED:
        raise Invalid([Problem("data", "must be a JSON object in UTF-8")], _id(attributes)) from None


def _id(attributes: Mapping[str, Any]) -> str | None:
    given = attributes.get("id")
    return given if isinstance(given, str) and 0 < len(given) <= MAX_ID else None


def _event(attributes: Mapping[str, Any], data: Any) -> CloudEvent:
    problems = list(_problems(attributes, data))
    if problems:
        raise Invalid(problems, _id(attributes))
    time, trace = attributes.get("time"), attributes.get("traceparent")
    return CloudEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        data=data,
        time=moment_of(time) if time is not None else None,
        subject=attributes.get("subject"),
        traceparent=trace if isinstance(trace, str) else None,
    )


def _problems(attributes: Mapping[str, Any], data: Any) -> Iterator[Problem]:
    if attributes.get("specversion") != "1.0":
        yield Problem("specversion", 'must be "1.0"')
    for name, longest in _TEXTS.items():
        value = attributes.get(name)
        if value is None and name == "subject":
            continue
        if not isinstance(value, str) or not value or len(value) > longest or "\0" in value:
            yield Problem(name, f"must be a text of 1 to {longest:,} characters")
    time = attributes.get("time")
    if time is not None and moment_of(time) is None:
        yield Problem("time", "must be a time with its zone as in RFC 3339, 2026-03-18T15:30:00Z")
    kind = attributes.get("datacontenttype")
    if kind is not None and not (isinstance(kind, str) and _is_json(kind.partition(";")[0].strip().lower())):
        yield Problem("datacontenttype", "must be application/json")
    if not isinstance(data, dict):
        yield Problem("data", "must be a JSON object")


def moment_of(value: object) -> datetime | None:
    """The moment of a text as in RFC 3339; None where it is none, or tells no zone."""
    try:
        found = msgspec.convert(value, datetime) if isinstance(value, str) else None
    except msgspec.ValidationError:
        return None
    return found if found is not None and found.tzinfo is not None and found.year > 1 else None
