"""Superset's API as its administrator uses it: what the demo and the tests put into a Superset."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

_TIMEOUT = aiohttp.ClientTimeout(total=120)


class SupersetRefused(Exception):
    """Superset answered with an error."""

    def __init__(self, what: str, status: int, answer: str) -> None:
        super().__init__(f"Superset: {what} failed with {status}: {answer[:300]}")


@dataclass(frozen=True, slots=True)
class SupersetApi:
    """Logged in as one account."""

    url: str
    http: aiohttp.ClientSession = field(repr=False)

    async def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """An answer with status 2xx. Raises SupersetRefused."""
        async with self.http.request(method, f"{self.url}/api/v1/{path}", json=body) as answer:
            if answer.status >= 300:
                raise SupersetRefused(f"{method} {path}", answer.status, await answer.text())
            found: dict[str, Any] = await answer.json()
            return found

    async def _create(self, path: str, body: Mapping[str, object]) -> int:
        created = await self.call("POST", f"{path}/", body)
        return int(created["id"])

    async def database(self, name: str, address: str) -> int:
        """A database by its SQLAlchemy address."""
        return await self._create(
            "database", {"database_name": name, "sqlalchemy_uri": address, "expose_in_sqllab": True}
        )

    async def table(self, database: int, schema: str, name: str) -> int:
        """A dataset that is a table."""
        return await self._create("dataset", {"database": database, "schema": schema, "table_name": name})

    async def virtual(self, database: int, schema: str, name: str, sql: str) -> int:
        """A dataset that is a query."""
        return await self._create("dataset", {"database": database, "schema": schema, "table_name": name, "sql": sql})

    async def dashboard(self, title: str, slug: str) -> int:
        """An empty dashboard."""
        return await self._create("dashboard", {"dashboard_title": title, "slug": slug, "published": True})

    async def chart(
        self,
        name: str,
        dataset: int,
        params: Mapping[str, object],
        *,
        queries: Sequence[Mapping[str, object]] = (),
        dashboards: Sequence[int] = (),
    ) -> int:
        """A table chart; with `queries` it has a saved query context, as charts have that were saved in the browser."""
        source = {"id": dataset, "type": "table"}
        body: dict[str, object] = {
            "slice_name": name,
            "viz_type": "table",
            "datasource_id": dataset,
            "datasource_type": "table",
            "params": json.dumps({"viz_type": "table", "datasource": f"{dataset}__table", **params}),
            "dashboards": list(dashboards),
        }
        if queries:
            context = {"datasource": source, "force": False, "queries": list(queries)}
            body["query_context"] = json.dumps({**context, "result_format": "json", "result_type": "full"})
        return await self._create("chart", body)

    async def delete_chart(self, chart: int) -> None:
        """Remove a chart."""
        await self.call("DELETE", f"chart/{chart}")

    async def saved_query(self, label: str, database: int, schema: str, sql: str) -> int:
        """A saved query of this account."""
        return await self._create("saved_query", {"label": label, "db_id": database, "schema": schema, "sql": sql})

    async def user(self, username: str, password: str, roles: Sequence[str] = ("Alpha", "sql_lab")) -> int:
        """An account that may query."""
        known = await self.call("GET", "security/roles/?q=(page_size:100)")
        ids = [role["id"] for role in known["result"] if role["name"] in roles]
        person = {"first_name": username.title(), "last_name": "Doe", "email": f"{username}@superset.invalid"}
        body = {**person, "username": username, "password": password, "active": True, "roles": ids}
        return await self._create("security/users", body)

    async def run(self, database: int, schema: str, sql: str) -> None:
        """Run SQL in SQL Lab, as this account."""
        what = {"database_id": database, "schema": schema, "sql": sql, "runAsync": False}
        await self.call("POST", "sqllab/execute/", {**what, "client_id": uuid4().hex[:10]})

    async def run_failing(self, database: int, schema: str, sql: str) -> None:
        """Run SQL that the database refuses; Superset remembers such runs too."""
        with suppress(SupersetRefused):
            await self.run(database, schema, sql)


@asynccontextmanager
async def superset_api(url: str, username: str, password: str) -> AsyncIterator[SupersetApi]:
    """Log in. Raises SupersetRefused."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as http:
        login = {"username": username, "password": password, "provider": "db", "refresh": False}
        found = await SupersetApi(url, http).call("POST", "security/login", login)
        http.headers["Authorization"] = f"Bearer {found['access_token']}"
        yield SupersetApi(url, http)
