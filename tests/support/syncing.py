"""A Superset to sync, and what a test asks of a sync through the gateway."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from cli.client import Gateway
from tests.stubs.superset.content import ADA, Content, run, small
from tests.stubs.superset.server import PASSWORD, USERNAME, SupersetStub
from tests.support.processes import FINAL_STATES, eventually

# Of `recent_content()`: 3 charts, 4 places on dashboards, 1 saved query; and the runs that count.
REFERENCES, RUNS = 8, 3


def recent_content(charts: int = 3, hours_ago: float = 2.0, now: float | None = None) -> Content:
    """The stub's content with runs that began some hours ago."""
    content = small(charts)
    began = ((time.time() if now is None else now) - hours_ago * 3600) * 1000
    for number, row in enumerate(content.query):
        row["start_time"] = began + number * 1000.5
    return content


def further_run(content: Content, table: str, minutes_ago: float = 1.0) -> None:
    """Somebody uses SQL Lab again."""
    row = run(len(content.query) + 1, ADA, f"SELECT id FROM {table}")
    content.query.append(row | {"start_time": (time.time() - minutes_ago * 60) * 1000})


def connector_body(stub: SupersetStub, name: str = "superset", **settings: object) -> dict[str, object]:
    """What POST /connectors takes."""
    known = {"type": "superset", "base_url": stub.url, "username": USERNAME, "password": PASSWORD}
    return {"name": name, "settings": known | settings}


@dataclass(frozen=True, slots=True)
class Synced:
    """A connector of a tenant of its own, behind the gateway."""

    gateway: Gateway
    tenant: UUID
    connector: str

    async def sync(self) -> dict[str, Any]:
        """A sync to its end."""
        job: dict[str, Any] = await self.gateway.post(f"/connectors/{self.connector}/bi-sync", prefer="wait=120")
        return job if job["phase"] == "done" else await self.finished(job)

    async def start(self) -> dict[str, Any]:
        """A sync on its way."""
        job: dict[str, Any] = await self.gateway.post(f"/connectors/{self.connector}/bi-sync", prefer="respond-async")
        return job

    async def finished(self, job: dict[str, Any], seconds: float = 300.0) -> dict[str, Any]:
        """The job once it is over and its rows are stored."""

        async def final() -> dict[str, Any] | None:
            state: dict[str, Any] = await self.gateway.get(f"/sync-jobs/{job['id']}")
            return state if state["status"] in FINAL_STATES and state["phase"] == "done" else None

        outcome: dict[str, Any] = await eventually(final, seconds)
        return outcome

    async def resources(self) -> set[tuple[str, str]]:
        """What the aggregator shows of the connector: (type, id)."""
        found, query = set[tuple[str, str]](), dict[str, str | int](limit=500)
        while True:
            page = await self.gateway.get(f"/connectors/{self.connector}/queries", **query)
            found |= {(row["resource_type"], row["resource_id"]) for row in page["items"]}
            if not page["next_cursor"]:
                return found
            query["cursor"] = page["next_cursor"]

    async def usage(self) -> dict[str, tuple[int, int]]:
        """Executions and references of each product, recomputed."""
        await self.gateway.post("/spaces/shop/usage/aggregate")
        rows = (await self.gateway.get("/spaces/shop/usage"))["items"]
        return {row["product_name"]: (row["execution_count_30d"], row["reference_count"]) for row in rows}


async def synced(gateway: Gateway, tenant: UUID, stub: SupersetStub, **settings: object) -> Synced:
    """With products for the tables of the stub's content."""
    await gateway.post("/spaces", {"name": "Shop", "slug": "shop"})
    for table in ("orders", "payments", "customers", "inventory"):
        body = {"name": table, "tables": [{"name": ("finance." if table == "payments" else "public.") + table}]}
        await gateway.post("/spaces/shop/products", body)
    connector = await gateway.post("/connectors", connector_body(stub, f"superset-{uuid4().hex[:6]}", **settings))
    return Synced(gateway, tenant, connector["id"])
