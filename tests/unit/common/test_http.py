"""The shell of every service: health, one shape of errors, identity. In process, without sockets."""

from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, FastAPI
from orjson import dumps
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, SecretStr

from libs.common.auth import InternalSigner, Principal
from libs.common.errors import Conflict, Unavailable
from libs.common.http import Caller, IdempotencyKey, create_app, creation_id
from libs.common.sealed import encode
from libs.common.settings import ServiceSettings
from tests.support.asgi import request

KEY = Ed25519PrivateKey.generate()
SIGNER = InternalSigner("k1", KEY)
TENANT = uuid4()
JSON = {"Content-Type": "application/json"}


class Body(BaseModel):
    count: int
    password: SecretStr


def _routes() -> APIRouter:
    router = APIRouter()

    @router.post("/things/{thing_id}")
    async def make(thing_id: UUID, body: Body, caller: Caller, key: IdempotencyKey = None) -> dict[str, str]:
        return {"subject": caller.subject, "id": str(creation_id(caller, "POST /things", key))}

    @router.get("/fails/{how}")
    async def fail(how: str) -> None:
        known = {"conflict": Conflict("It exists.", job="/jobs/1"), "away": Unavailable("Not now.", retry_after=7)}
        raise known.get(how) or (ConnectionRefusedError if how == "database" else RuntimeError)("secret-canary")

    return router


@pytest.fixture
def app() -> FastAPI:
    url = SecretStr("postgresql://nobody@127.0.0.1/none")
    settings = ServiceSettings(
        http_port=1,
        api_database_url=url,
        worker_database_url=url,
        internal_public_keys={"k1": encode(KEY.public_key().public_bytes_raw())},
        sealing_keys={},
        max_body_bytes=500,
    )

    async def unready() -> str | None:
        return "warming up"

    return create_app("reporting", settings, registry=CollectorRegistry(), routers=[_routes()], readiness=unready)


def _bearer(principal: Principal | None = None) -> dict[str, str]:
    return {"Authorization": f"Bearer {SIGNER.mint(principal or Principal(TENANT, 'ada'))}"}


async def test_health_needs_no_identity(app: FastAPI) -> None:
    assert (await request(app, "GET", "/livez")).json() == {"status": "alive"}
    not_ready = await request(app, "GET", "/readyz")
    assert (not_ready.status, not_ready.json()["detail"]) == (503, "warming up")
    assert "retry-after" in not_ready.headers
    assert (await request(app, "GET", "/metrics")).status == 200


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer x"}, {"Authorization": ""}]
)
async def test_no_valid_token_no_entry(app: FastAPI, header: dict[str, str]) -> None:
    answer = await request(
        app, "POST", f"/things/{uuid4()}", body=dumps({"count": 1, "password": "x"}), headers=JSON | header
    )
    assert (answer.status, answer.json()["code"]) == (401, "unauthorized")


async def test_a_token_without_tenant_is_forbidden_where_a_tenant_is_needed(app: FastAPI) -> None:
    body = {"count": 1, "password": "x"}
    answer = await request(
        app, "POST", f"/things/{uuid4()}", body=dumps(body), headers=JSON | _bearer(Principal(None, "root"))
    )
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"{", "1"),
        (b'{"count": "canary", "password": "x"}', "count"),
        (b'{"count": 1, "password": {"deep": "canary"}}', "password"),
        (b'["canary"]', "body"),
        (b"", "body"),
    ],
)
async def test_a_malformed_body_is_422_that_names_the_field_and_not_the_input(
    app: FastAPI, content: bytes, field: str
) -> None:
    answer = await request(app, "POST", f"/things/{uuid4()}", body=content, headers=JSON | _bearer())
    assert answer.status == 422
    assert answer.json()["errors"][0]["field"] == field
    assert "canary" not in answer.text


async def test_errors_have_one_shape(app: FastAPI) -> None:
    conflict, away = [await request(app, "GET", f"/fails/{how}") for how in ("conflict", "away")]
    assert conflict.json() == {"detail": "It exists.", "code": "conflict", "trace_id": None, "job": "/jobs/1"}
    assert (away.status, away.headers["retry-after"]) == (503, "7")
    for answer in (await request(app, "GET", "/nowhere"), await request(app, "DELETE", "/livez")):
        assert set(answer.json()) == {"detail", "code", "trace_id"}


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_above_the_limit_is_413(app: FastAPI, announced: bool) -> None:
    body = dumps({"count": 1, "password": "x" * 600})
    sent = body if announced else [body[:300], body[300:]]
    answer = await request(app, "POST", f"/things/{uuid4()}", body=sent, headers=JSON | _bearer())
    assert (answer.status, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(("how", "status", "code"), [("database", 503, "unavailable"), ("bug", 500, "internal")])
async def test_what_nobody_foresaw_tells_nothing(app: FastAPI, how: str, status: int, code: str) -> None:
    answer = await request(app, "GET", f"/fails/{how}")
    assert (answer.status, answer.json()["code"], "retry-after" in answer.headers) == (status, code, status == 503)
    assert "canary" not in answer.text


def test_ids_follow_the_idempotency_key() -> None:
    caller, other = Principal(TENANT, "ada"), Principal(uuid4(), "ada")
    first = creation_id(caller, "POST /things", "k")
    assert creation_id(caller, "POST /things", "k") == first
    differing = {creation_id(other, "POST /things", "k"), creation_id(caller, "POST /other", "k")}
    differing |= {creation_id(caller, "POST /things", "j"), creation_id(caller, "POST /things", None)}
    assert first not in differing
    assert len(differing) == 4
