"""Dead letters: what is kept of a message that could not be handled, and what must not be kept.

The dead letter has the original key and headers and, where that is safe, the original value. Beside them:
`dl-error` (class and place, never an input value), `dl-kind` (invalid, bug), `dl-attempts`, `dl-group`,
`dl-origin-topic`, `-partition`, `-offset`, `dl-time`. A topic whose values may hold SQL literals has a scrubber:
statements are anonymised, unknown fields dropped; a value that cannot be scrubbed is dropped, and its length
and SHA-256 are kept (`dl-body-length`, `dl-body-sha256`). The same happens to a value that is too large to be
sent again. A dead letter without a body cannot be replayed.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import orjson
from aiokafka import ConsumerRecord

from libs.common.clock import rfc3339
from libs.common.envelope import Envelope, is_structured
from libs.common.handover import Message
from libs.common.scraped_shapes import BiQueryScraped, SyncCompleted
from libs.common.sql import anonymise
from libs.common.topics import BI_QUERY_SCRAPED, Topic

Kind = Literal["invalid", "bug"]
PREFIX: Final = "dl-"
REPLAYED: Final = "dl-replayed"
BODY_DROPPED: Final = "dl-body-sha256"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Why a message went to the dead letters. `envelope` holds what its headers told, however bad the body is."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    reason: str
    error: str
    attempts: int
    envelope: Envelope
    kind: Kind


def dead_letter(
    topic: Topic, raw: "ConsumerRecord[bytes, bytes]", *, kind: Kind, error: str, reason: str, attempts: int
) -> DeadLetter:
    """The dead letter of one record; `reason` is shown to operators and holds no input value."""
    headers = tuple(raw.headers)
    envelope = Envelope.from_headers(headers, f"{topic.name}/{raw.partition}/{raw.offset}")
    return DeadLetter(topic.name, raw.partition, raw.offset, raw.key, headers, reason, error, attempts, envelope, kind)


def to_message(
    letter: DeadLetter, value: bytes | None, *, topic: Topic, physical: str, group: str, at: datetime
) -> Message:
    """The message for the dead-letter topic, its value scrubbed."""
    kept = scrub(topic, letter.headers, value or b"")
    about = {
        "dl-error": letter.reason,
        "dl-kind": letter.kind,
        "dl-attempts": str(letter.attempts),
        "dl-group": group,
        "dl-origin-topic": letter.topic,
        "dl-origin-partition": str(letter.partition),
        "dl-origin-offset": str(letter.offset),
        "dl-time": rfc3339(at),
    }
    original = [(name, text) for name, text in letter.headers if not name.startswith(PREFIX) or name == REPLAYED]
    headers = [*original, *((name, text.encode()) for name, text in about.items())]
    message = Message(physical, letter.key, kept, headers)
    return message if kept is not None else without_body(message, value or b"")


def without_body(message: Message, value: bytes) -> Message:
    """The same dead letter with the length and the hash of its value instead of the value."""
    digest = hashlib.sha256(value).hexdigest()
    headers = [
        *message.headers,
        ("dl-body-length", str(len(value)).encode()),
        (BODY_DROPPED, digest.encode()),
    ]
    return Message(message.topic, message.key, b"", headers)


def scrub(topic: Topic, headers: Sequence[tuple[str, bytes | None]], value: bytes) -> bytes | None:
    """The value without what must not be kept; None where nothing of it is safe."""
    scrubber = _SCRUBBERS.get(topic)
    if scrubber is None:
        return value
    try:
        body = orjson.loads(value)
        if not is_structured(headers):
            return orjson.dumps(scrubber(body))
        return orjson.dumps({**body, "data": scrubber(body["data"])})
    except Exception:  # whatever is wrong with it: not kept
        return None


def _scrub_bi_query(body: dict[str, Any]) -> dict[str, Any]:
    """Known fields, the statement anonymised. Raises where the statement cannot be told from the rest."""
    kept = {name: value for name, value in body.items() if name in _BI_QUERY_FIELDS}
    if kept.get("sql_text") is not None:
        kept["sql_text"], cut = anonymise(kept["sql_text"], kept["dialect"])
        kept["sql_truncated"] = bool(kept.get("sql_truncated")) or cut
    return kept


_BI_QUERY_FIELDS: Final = frozenset(BiQueryScraped.model_fields) | frozenset(SyncCompleted.model_fields)
_SCRUBBERS: Final[Mapping[Topic, Callable[[dict[str, Any]], dict[str, Any]]]] = {BI_QUERY_SCRAPED: _scrub_bi_query}
