"""Whatever answers in Superset's place: a scrape ends in time, with batches or a ToolError, and lets no literal out."""

import asyncio
import time
from collections.abc import Iterator

from services.scraper.tools import ToolError
from services.scraper.tools.http_client import Limits
from services.scraper.tools.http_retry import Patience
from services.scraper.tools.superset import Superset
from tests.stubs.superset.content import LITERAL, small
from tests.stubs.superset.hostile import hostile_cases
from tests.stubs.superset.server import PASSWORD, USERNAME, Fault, SupersetStub, running
from tests.support.superset import LOCAL, Scrape, scrape, superset

_PATIENCE = Patience(attempts=2, first_pause=0.0, longest_pause=0.0, longest_retry_after=0.2)
_LIMITS = Limits(request_seconds=0.8, connect_seconds=0.8, patience=_PATIENCE)
_LONGEST_SECONDS = 300.0
_WORKERS = 16
_CHARTS = {"1", "2", "3"}
_SECRETS = (LITERAL, PASSWORD, "access-secret", "refresh-1")
# A name that reads like SQL is a name all the same: it is shown.
_NAMES = ("catalog of", "schema of", "slug of", "username of", "sqlalchemy_uri of", "table_name of", "database_name of")


class Findings:
    """What the cases showed."""

    def __init__(self) -> None:
        self.crashes: list[str] = []
        self.leaks: list[str] = []
        self.false_complete: list[str] = []
        self.cases = self.errors = self.scrapes = 0
        self.slowest = 0.0

    async def run(self, name: str, stub: SupersetStub) -> None:
        self.cases += 1
        started = time.monotonic()
        tool = Superset(superset(stub.url, USERNAME, PASSWORD), LOCAL, _LIMITS, most_pages=5)
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                self._judge(name, await scrape(tool))
        except ToolError as error:
            self.errors += 1
            self._look_for_secrets(name, str(error))
        except Exception as error:
            self.crashes.append(f"{name}: {type(error).__name__} {error}"[:300])
        self.slowest = max(self.slowest, time.monotonic() - started)

    def _judge(self, name: str, done: Scrape) -> None:
        self.scrapes += 1
        self._look_for_secrets(name, "".join(record.model_dump_json() for record in done.records), *done.warnings)
        changed_ids = name.startswith(("id of charts", "endless"))
        if done.complete and not changed_ids and not set(done.ids("chart")) >= _CHARTS:
            self.false_complete.append(name)

    def _look_for_secrets(self, name: str, *said: str) -> None:
        if name.startswith(_NAMES) and "SELECT" in name:
            return
        self.leaks += [f"{name}: {secret}" for secret in _SECRETS if any(secret in text for text in said)]


async def _work(cases: Iterator[tuple[str, Fault]], findings: Findings) -> None:
    """A stub of its own for each worker: most cases wait for a time-out."""
    stub = SupersetStub()
    async with running(stub):
        for name, fault in cases:
            stub.content, stub.fault, stub.with_context = small(), fault, not stub.with_context
            await findings.run(name, stub)
            stub.requests.clear()


async def test_a_hostile_superset_crashes_nothing_and_gets_no_literal_out() -> None:
    findings, cases = Findings(), hostile_cases()
    await asyncio.gather(*(_work(cases, findings) for _ in range(_WORKERS)))
    print(
        f"HOSTILE cases={findings.cases} crashes={len(findings.crashes)} leaks={len(findings.leaks)}"
        f" false_complete={len(findings.false_complete)} refused={findings.errors} scraped={findings.scrapes}"
        f" slowest_s={findings.slowest:.1f}"
    )
    assert findings.crashes == []
    assert findings.leaks == []
    assert findings.false_complete == []
    assert findings.scrapes > 100
    assert findings.errors > 100
