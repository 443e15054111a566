"""Records as the Kafka client hands them out, made by hand."""

from collections.abc import Mapping
from typing import Any

from aiokafka import ConsumerRecord


def raw(
    value: bytes | None,
    headers: Mapping[str, str | bytes | None] | None = None,
    *,
    topic: str = "t",
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = b"k",
) -> Any:
    """A consumer record with these headers, in order."""
    encoded = tuple((n, text.encode() if isinstance(text, str) else text) for n, text in (headers or {}).items())
    return ConsumerRecord(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=1_700_000_000_000,
        timestamp_type=0,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=encoded,
    )
