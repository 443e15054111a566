"""What a careless or hostile client sends: each gets a clear refusal that names the field, and no process falls."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import pytest

from tests.support.platform import Platform
from tests.support.processes import Running, running_services, token
from tests.support.servers import Servers

SECRET = "canary-" + uuid4().hex


@dataclass(frozen=True, slots=True)
class Client:
    """Raw requests of one tenant: status and body, whatever they are."""

    session: aiohttp.ClientSession
    tenant: UUID

    async def send(self, method: str, path: str, raw: bytes | io.BytesIO | None = None, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token(self.tenant, 'staff')}", "Content-Type": "application/json"}
        async with self.session.request(method, path, data=raw, headers=headers, **more) as response:
            text = await response.text()
            assert SECRET not in text
            return response.status, (await response.json()) if text else None

    async def json(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token(self.tenant, 'staff')}"}
        async with self.session.request(method, path, json=body, headers=headers) as response:
            text = await response.text()
            assert SECRET not in text
            return response.status, (await response.json()) if text else None


@pytest.fixture(scope="module")
async def running(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running_services(platform, Path(tmp_path_factory.mktemp("logs"))) as services:
        yield services


@pytest.fixture
async def client(running: Running) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(running.gateway_url) as session:
        yield Client(session, await running.new_tenant())


def connector(name: str = "w", **settings: object) -> dict[str, object]:
    known = {"type": "postgres", "host": "127.0.0.1", "port": 1, "database": "d", "username": "u", "password": SECRET}
    return {"name": name, "settings": known | settings}


BAD_BODIES = [
    ("/spaces", b"{", 422),
    ("/spaces", b"[]", 422),
    ("/spaces", b'{"name": 7}', 422),
    ("/spaces", b"{}", 422),
    ("/spaces", b"\xff\xfe", 422),
    ("/connectors", b"{", 422),
    ("/connectors", b'"text"', 422),
    ("/connectors", b'{"name": "x"}', 422),
    ("/connectors", b'{"name": "x", "settings": {"type": "nonsense"}}', 400),
    ("/connectors", b'{"name": "x", "settings": {"type": "metabase"}}', 400),
    ("/connectors", b'{"name": "x", "settings": {"type": "postgres", "host": 1}}', 422),
    ("/api-keys", b'{"name": {}}', 422),
]


async def test_bad_bodies_are_refused_by_name(client: Client, running: Running) -> None:
    wrong = []
    for path, body, expected in BAD_BODIES:
        status, answer = await client.send("POST", path, body)
        shape = {"detail", "code", "trace_id"} <= set(answer)
        if status not in (expected, 400) or not shape or not answer["detail"]:
            wrong.append((path, body, status, answer))
    alive = sum(process.pid is not None for process in running.processes.values())
    print(f"BAD_BODIES cases={len(BAD_BODIES)} refused={len(BAD_BODIES) - len(wrong)} crashes={3 - alive}")
    assert wrong == []
    assert alive == 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/connectors/{id}"),
        ("PATCH", "/connectors/{id}"),
        ("DELETE", "/connectors/{id}"),
        ("POST", "/connectors/{id}/test"),
        ("POST", "/connectors/{id}/query-log-mining"),
        ("GET", "/connectors/{id}/mining-jobs"),
        ("GET", "/connectors/{id}/queries"),
        ("GET", "/mining-jobs/{id}"),
        ("POST", "/mining-jobs/{id}/cancel"),
        ("GET", "/spaces/nowhere"),
        ("GET", "/spaces/nowhere/usage"),
        ("POST", "/spaces/nowhere/usage/aggregate"),
        ("GET", "/spaces/nowhere/products/{id}"),
    ],
)
async def test_unknown_ids_are_404_and_malformed_ones_422(client: Client, method: str, path: str) -> None:
    body = {"name": "n"} if method == "PATCH" else None
    status, answer = await client.json(method, path.format(id=uuid4()), body)
    assert (status, answer["code"]) == (404, answer["code"]), answer
    if "{id}" in path:
        status, answer = await client.json(method, path.format(id="not-an-id"), body)
        assert status == 422, answer


async def test_the_ids_of_other_tenants_do_not_exist(client: Client, running: Running) -> None:
    _, mine = await client.json("POST", "/connectors", connector())
    await client.json("POST", "/spaces", {"name": "Mine", "slug": "mine"})
    _, product = await client.json("POST", "/spaces/mine/products", {"name": "P", "tables": [{"name": "t"}]})
    other = Client(client.session, await running.new_tenant())
    paths = [
        ("GET", f"/connectors/{mine['id']}"),
        ("DELETE", f"/connectors/{mine['id']}"),
        ("POST", f"/connectors/{mine['id']}/query-log-mining"),
        ("GET", f"/connectors/{mine['id']}/queries"),
        ("GET", "/spaces/mine"),
        ("GET", f"/spaces/mine/products/{product['id']}"),
        ("DELETE", f"/spaces/mine/products/{product['id']}"),
    ]
    seen = [(path, status) for method, path in paths if (status := (await other.json(method, path))[0]) != 404]
    print(f"TENANTS cases={len(paths)} leaked={len(seen)}")
    assert seen == []
    assert (await client.json("GET", f"/connectors/{mine['id']}"))[0] == 200


async def test_duplicates_are_409(client: Client) -> None:
    for path, body in (("/connectors", connector("twice")), ("/spaces", {"name": "Twice", "slug": "twice"})):
        assert (await client.json("POST", path, body))[0] == 201
        status, answer = await client.json("POST", path, body)
        assert status == 409
        assert "twice" in answer["detail"]


async def test_oversized_bodies_are_413(client: Client) -> None:
    for path in ("/connectors", "/spaces"):
        status, answer = await client.send("POST", path, io.BytesIO(b'{"name": "' + b"x" * 2_000_000 + b'"}'))
        assert (status, answer["code"]) == (413, "too_large")


async def test_without_or_with_a_forged_token_401(client: Client) -> None:
    async with client.session.get("/spaces") as response:
        assert (response.status, (await response.json())["code"]) == (401, "unauthorized")
    forged = {"Authorization": "Bearer " + token(client.tenant)[:-4] + "AAAA"}
    async with client.session.get("/spaces", headers=forged) as response:
        assert response.status == 401


async def mining_failure(client: Client, body: dict[str, object]) -> str:
    """Test and mine a warehouse that cannot be mined: the cause as told."""
    status, made = await client.json("POST", "/connectors", body)
    assert status == 201, made
    _, tested = await client.json("POST", f"/connectors/{made['id']}/test")
    failed = [step for step in tested["steps"] if not step["ok"]]
    assert failed
    status, answer = await client.json("POST", f"/connectors/{made['id']}/query-log-mining")
    assert status == 502, answer
    job_status, job = await client.json("GET", answer["job"])
    assert (job_status, job["state"]) == (200, "failed")
    assert job["error"]
    return str(answer["detail"])


async def test_a_warehouse_that_cannot_be_mined_names_the_cause(
    client: Client, servers: Servers, running: Running
) -> None:
    server = urlsplit(servers.warehouse)
    here: dict[str, Any] = {"host": server.hostname, "port": server.port, "ssl_mode": "disable"}
    no_database = connector("db", **here | {"database": "nowhere", "username": "postgres", "password": server.password})
    causes = {
        "unreachable": await mining_failure(client, connector("gone", ssl_mode="disable")),
        "unauthorised": await mining_failure(client, connector("pw", **here, database="postgres", username="postgres")),
        "no database": await mining_failure(client, no_database),
    }
    logs = "".join(process.log.read_text() for process in running.processes.values())
    print(f"WAREHOUSE causes={len(set(causes.values()))} secrets_in_logs={logs.count(SECRET)}")
    assert "password" in causes["unauthorised"].lower()
    assert len(set(causes.values())) == len(causes)
    assert SECRET not in logs + str(causes)
