"""Placing a dead letter in its ledger."""

from typing import Any
from uuid import UUID

import pytest

from libs.common.dead_letter import DeadLetter
from libs.common.envelope import Envelope
from services.aggregator.consumers import place_of
from services.aggregator.rows import LedgerKey

TENANT, CONNECTOR, JOB = UUID(int=1), UUID(int=2), UUID(int=3)
KEY = f"{TENANT}:{CONNECTOR}".encode()
PLACE = {"jobid": str(JOB), "syncseq": "4", "jobseq": "17"}


def letter(key: bytes | None = KEY, tenant: UUID | None = TENANT, extensions: dict[str, Any] = PLACE) -> DeadLetter:
    envelope = Envelope("1", "t", "s", None, tenant, extensions=extensions)
    return DeadLetter("bi_query.scraped", 0, 1, key, (), "bad", "Bad", 1, envelope, "invalid")


def test_a_letter_is_placed_by_key_and_headers() -> None:
    assert place_of(letter()) == (LedgerKey(TENANT, CONNECTOR, JOB, 4), 17)


@pytest.mark.parametrize(
    "misplaced",
    [
        letter(key=None),
        letter(key=b"\xff\xfe"),
        letter(key=b"one"),
        letter(key=b"a:b"),
        letter(key=KEY + b":c"),
        letter(tenant=UUID(int=9)),
        letter(tenant=None),
        letter(extensions={}),
        letter(extensions={**PLACE, "jobseq": "x"}),
        letter(extensions={**PLACE, "jobseq": "0"}),
        letter(extensions={**PLACE, "jobseq": str(2**60)}),
        letter(extensions={**PLACE, "syncseq": "-1"}),
        letter(extensions={**PLACE, "jobid": "j"}),
    ],
)
def test_a_letter_of_no_job_has_no_place(misplaced: DeadLetter) -> None:
    assert place_of(misplaced) is None
