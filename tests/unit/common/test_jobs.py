"""What the queue holds of a job, and the frozen tables."""

from pathlib import Path
from uuid import uuid4

import pytest

from libs.common.connector_copy import DDL as CONNECTOR_DDL
from libs.common.jobs import JobRef, ddl
from libs.common.outbox import DDL as OUTBOX_DDL

SERVICES = Path(__file__).parents[3] / "services"


def test_a_payload_is_read_back() -> None:
    ref = JobRef(uuid4(), uuid4())
    assert JobRef.of_payload(ref.to_payload()) == ref


@pytest.mark.parametrize("payload", [None, b"", b"x y", b"\xff"])
def test_a_foreign_payload_is_refused(payload: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        JobRef.of_payload(payload)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [("0001_pgqueuer.sql", ddl("log_miner")), ("0002_mining.sql", CONNECTOR_DDL), ("0003_outbox.sql", OUTBOX_DDL)],
)
def test_migrations_hold_the_tables_of_the_libraries(file: str, wanted: str) -> None:
    """An upgrade of PgQueuer that changes its tables needs a migration."""
    text = (SERVICES / "log_miner" / "migrations" / file).read_text()
    assert " ".join(wanted.split()) in " ".join(text.split())
