"""Whoever does not hold a source's secret changes nothing, costs little and learns nothing."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from libs.common.sealed import encode
from services.gateway.ingress.sources import BELIEVED
from tests.integration.gateway_harness import Front, Reply, front, front_process
from tests.integration.webhook_harness import Source, connected, new_source
from tests.support import webhooks
from tests.support.platform import Platform
from tests.support.processes import eventually
from tests.support.webhooks import body_of, payload

STATUS = payload("github_deployment_status")
WRONG = "canary-wrong-secret-0123456789"
CANARY = "canary-7c2f91"


@pytest.fixture(scope="module")
async def gateway(platform: Platform) -> AsyncIterator[Front]:
    async with front(platform) as running:
        await connected(running)
        yield running


@asynccontextmanager
async def replica(platform: Platform, **changes: Any) -> AsyncIterator[Front]:
    """Another gateway on the same database: it has learnt nothing yet."""
    async with front(platform, **changes) as running:
        yield running


def at(gateway: Front, source: Source) -> Source:
    return Source(gateway, source.tenant, source.id, source.secret)


# --- rotation


async def test_during_a_rotation_two_secrets_are_valid(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    made = (await source.staff("POST", "/rotate", json={})).body
    second = made["secret"]
    assert (made["old_secret_valid"], made["old_secret_until"], made["version"]) == (True, None, 2)
    for secret, status in ((source.secret, 202), (second, 202), (WRONG, 401)):
        assert (await source.github(STATUS, secret=secret)).status == status
    third = (await source.staff("POST", "/rotate", json={"secret": "a-third-secret-0123456789"})).body["secret"]
    for secret, status in ((source.secret, 401), (second, 202), (third, 202)):
        assert (await source.github(STATUS, secret=secret)).status == status
    for _ in range(2):
        assert (await source.staff("DELETE", "/old-secret")).status == 204
    for secret, status in ((second, 401), (third, 202)):
        assert (await source.github(STATUS, secret=secret)).status == status
    assert (await source.staff("GET")).body["old_secret_valid"] is False


async def test_the_old_secret_ends_at_its_time(gateway: Front, platform: Platform) -> None:
    source = await new_source(gateway, "github")
    until = datetime.now(UTC) + timedelta(hours=1)
    rotated = (await source.staff("POST", "/rotate", json={"old_secret_until": until.isoformat()})).body
    assert (rotated["old_secret_valid"], datetime.fromisoformat(rotated["old_secret_until"])) == (True, until)
    assert (await source.github(STATUS)).status == 202
    async with replica(platform, clock_offset=7200.0) as later:
        await connected(later)
        far = at(later, source)
        for secret, status in ((source.secret, 401), (rotated["secret"], 202)):
            assert (await far.github(STATUS, secret=secret)).status == status
        shown = (await far.staff("GET")).body
        assert (shown["old_secret_valid"], shown["old_secret_until"]) == (False, None)


async def test_a_secret_that_leaked_ends_at_once(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    past = {"old_secret_until": (datetime.now(UTC) - timedelta(seconds=1)).isoformat()}
    new = (await source.staff("POST", "/rotate", json=past)).body
    assert new["old_secret_valid"] is False
    assert (await source.github(STATUS)).status == 401
    assert (await source.github(STATUS, secret=new["secret"])).status == 202


async def test_a_replica_learns_of_a_rotation_within_seconds(gateway: Front, platform: Platform) -> None:
    source = await new_source(gateway, "github")
    async with replica(platform) as other:
        await connected(other)
        far = at(other, source)
        assert (await far.github(STATUS)).status == 202
        now = datetime.now(UTC).isoformat()
        await source.staff("POST", "/rotate", json={"old_secret_until": now})
        assert (await source.github(STATUS)).status == 401

        async def learnt() -> bool:
            return (await far.github(STATUS)).status == 401

        await eventually(learnt)


# --- audit


async def test_every_rejected_signature_is_told(gateway: Front, platform: Platform) -> None:
    async with replica(platform) as other:
        await connected(other)
        source = await new_source(other, "github", environment="staging")
        body = body_of(STATUS)
        headers = webhooks.github_headers(source.secret, body, "deployment_status", "d")
        del headers["X-Hub-Signature-256"]
        answers = [await source.post(body, headers)]
        answers += [await source.github(STATUS, secret=WRONG) for _ in range(11)]
        assert {answer.status for answer in answers} == {401}
        assert "SHA-1" in answers[0].body["detail"]
        assert all(answer.headers["WWW-Authenticate"].startswith("Bearer") for answer in answers)
        assert await source.events() == []
    # That gateway has ended, and told what it had counted.
    rejections = await at(gateway, source).rejections()
    counts = Counter[str]()
    for each in rejections:
        counts[each["current_resource"]["reason"]] += each["current_resource"]["count"]
    print(f"WEBHOOK_REJECTIONS requests={len(answers)} counted={counts.total()} events={len(rejections)}")
    assert counts == {"sha1_only": 1, "wrong_signature": 11}
    assert len(rejections) <= 7
    assert {(each["tenant"], each["environment"]) for each in rejections} == {(str(source.tenant), "staging")}
    assert {each["actor_type"] for each in rejections} == {"unknown"}


# --- tenants


async def test_one_tenants_secret_opens_no_other_source(gateway: Front) -> None:
    ours, theirs = await new_source(gateway, "github"), await new_source(gateway, "github")
    second = await new_source(gateway, "github", tenant=ours.tenant)
    for foreign in (theirs, second):
        assert (await ours.github(STATUS, secret=foreign.secret)).status == 401
    named = payload("github_deployment_status") | {"tenant": str(theirs.tenant), "tenant_id": str(theirs.tenant)}
    assert (await ours.github(named)).status == 202
    assert (await theirs.github(STATUS)).status == 202
    ((_, our_event),), ((_, their_event),) = await ours.events(), await theirs.events()
    assert (our_event["tenant"], their_event["tenant"]) == (str(ours.tenant), str(theirs.tenant))
    assert our_event["deployment_id"] != their_event["deployment_id"]


async def test_a_token_of_ours_opens_no_source(gateway: Front) -> None:
    source = await new_source(gateway, "devlake")
    answer = await gateway.call("POST", source.path, tenant=source.tenant, json=payload("devlake_deployment"))
    assert answer.status == 401


# --- what is not taken


async def test_a_source_whose_secret_cannot_be_opened_takes_nothing(gateway: Front, platform: Platform) -> None:
    source = await new_source(gateway, "github")
    async with replica(platform, sealing_keys={"k2": encode(bytes(32))}) as blind:
        far = at(blind, source)
        for secret in (source.secret, WRONG, ""):
            answer = await far.github(STATUS, secret=secret)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "60")
    assert await source.events() == []


async def test_a_source_that_is_switched_off_takes_nothing(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    await source.staff("PATCH", json={"enabled": False})
    assert (await source.github(STATUS)).status == 403
    assert (await source.github(STATUS, secret=WRONG)).status == 401
    await source.staff("PATCH", json={"enabled": True})
    assert (await source.github(STATUS)).status == 202


async def test_a_secret_in_the_query_is_none(gateway: Front) -> None:
    source = await new_source(gateway, "generic")
    body = body_of(payload("generic_deployment"))
    sha = webhooks.hub_signature(source.secret, body)
    for query in (
        f"token={source.secret}",
        f"secret={source.secret}",
        f"X-Tidemark-Token={source.secret}",
        f"v1={sha}",
    ):
        assert (await source.post(body, {}, f"{source.path}?{query}")).status == 401
    assert await source.events() == []


async def test_the_body_is_what_was_signed_to_the_byte(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    body = body_of(STATUS)
    headers = webhooks.github_headers(source.secret, body, "deployment_status", "d")
    for changed in (json.dumps(STATUS).encode(), body + b"\n", body.replace(b"success", b"SUCCESS")):
        assert json.loads(changed)
        assert (await source.post(changed, headers)).status == 401
    assert (await source.post(body, headers)).status == 202


async def test_replays_come_under_the_same_id_or_not_at_all(gateway: Front) -> None:
    """Whatever the header says that no signature covers, it is the same deployment in the same state."""
    github, gitlab = await new_source(gateway, "github"), await new_source(gateway, "gitlab")
    body = body_of(STATUS)
    headers = webhooks.github_headers(github.secret, body, "deployment_status", "d-1")
    for delivery in ("d-1", "d-1", "d-2"):
        assert (await github.post(body, headers | {"X-GitHub-Delivery": delivery})).status == 202
    told = await github.events()
    assert [headers["ce_id"] for headers, _ in told] == ["d-1", "d-1", "d-2"]
    assert len({json.dumps(event) for _, event in told}) == 1
    old = int(time.time()) - 301
    assert (await gitlab.gitlab(payload("gitlab_deployment"), at=old)).status == 401
    ahead = int(time.time()) + 400
    assert (await gitlab.gitlab(payload("gitlab_deployment"), at=ahead)).status == 401


async def _rejected_bodies(source: Source) -> list[tuple[bytes, dict[str, str], int]]:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    ahead = body_of(payload("github_deployment_status", deployment_status__updated_at=later))
    return [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'"canary"', {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"payload=%7B%7D", form, 415),
        (b"{}", {}, 422),
        (ahead, {}, 422),
    ]


async def test_what_cannot_be_read_is_refused_for_good(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    for body, more, status in await _rejected_bodies(source):
        headers = webhooks.github_headers(source.secret, body, "deployment_status", "d") | more
        answer = await source.post(body, headers)
        assert (answer.status, "canary" in answer.text) == (status, False), (body[:50], answer.text)
        assert "Retry-After" not in answer.headers
    assert await source.events() == []


async def test_names_that_are_left_out_are_ignored(gateway: Front) -> None:
    source = await new_source(gateway, "devlake", mapping={"components": {"acme/payments": None}})
    assert (await source.token(payload("devlake_deployment"))).status == 202
    assert [event["component_ref"] for _, event in await source.events()] == ["acme/checkout"]
    await source.staff("PATCH", json={"mapping": {"environments": {"*": None}}})
    answer = await source.token(payload("devlake_deployment"))
    assert (answer.status, answer.body["status"]) == (200, "ignored")


# --- bounds


async def test_an_unknown_address_costs_one_look_and_then_none(gateway: Front) -> None:
    unknown = Source(gateway, uuid4(), str(uuid4()), WRONG)
    gateway.spans.clear()
    answers = [await unknown.github(STATUS) for _ in range(5)]
    looks = [
        span
        for span in gateway.spans.get_finished_spans()
        if "webhook_source" in str((span.attributes or {}).get("db.query.text"))
    ]
    assert [(answer.status, answer.body["code"]) for answer in answers] == [(404, "not_found")] * 5
    assert len(looks) <= 2, "an answer that is believed for five seconds was asked for each time"
    assert (await unknown.post(b"", {}, "/webhooks/nonsense")).status == 422
    assert (await unknown.github(STATUS)).status == (await unknown.post(b"", {}, unknown.path + "/")).status == 404
    rows = await gateway.sql(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'gateway' AND indexname = 'webhook_source_id_taken'"
    )
    assert "(id)" in rows[0]["indexdef"]


async def test_a_flood_of_made_up_addresses_stops_nobody(gateway: Front) -> None:
    source, started = await new_source(gateway, "github"), time.monotonic()
    assert (await source.github(STATUS)).status == 202
    body = body_of(STATUS)

    async def made_up() -> int:
        headers = webhooks.github_headers(WRONG, body, "deployment_status", "d")
        return (await source.post(body, headers, f"/webhooks/{uuid4()}")).status

    flood = [made_up() for _ in range(400)]
    *answers, known = await asyncio.gather(*flood, source.github(STATUS))
    counts = Counter(answers)
    print(f"WEBHOOK_FLOOD made_up={len(answers)} not_found={counts[404]} refused={counts[429]}")
    assert set(counts) <= {404, 429}
    assert isinstance(known, Reply)
    forgotten = time.monotonic() - started > BELIEVED
    assert known.status == 202 or forgotten


async def test_large_bodies_are_refused_before_they_are_read(gateway: Front) -> None:
    source = await new_source(gateway, "github")
    huge = b"x" * 2_000_000
    headers = webhooks.github_headers(source.secret, huge, "push", "d")

    async def pieces() -> AsyncIterator[bytes]:
        yield huge

    for body in (BytesIO(huge), pieces()):
        async with gateway.session.post(gateway.url + source.path, data=body, headers=headers) as answer:
            assert (answer.status, (await answer.json())["code"]) == (413, "too_large")


@asynccontextmanager
async def _half_sent(
    gateway: Front, source: Source
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A request whose body does not come."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            f"POST {source.path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 10\r\n"
            f"X-Hub-Signature-256: sha256={'0' * 64}\r\n\r\n{{".encode()
        )
        await writer.drain()
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def test_slow_senders_are_ended_and_do_not_stand_in_the_way(gateway: Front, platform: Platform) -> None:
    async with replica(platform, webhook_read_seconds=0.3) as hasty:
        source = await new_source(hasty, "github")
        async with _half_sent(hasty, source) as (reader, _):
            assert b" 408 " in await reader.readline()


async def test_more_webhooks_at_once_than_are_worked_on_come_again(gateway: Front, platform: Platform) -> None:
    async with replica(platform, webhook_max_in_flight=1, webhook_read_seconds=60) as narrow:
        await connected(narrow)
        source = await new_source(narrow, "github")
        refused: list[Reply] = []

        async def full() -> bool:
            refused.append(await source.github(STATUS))
            return refused[-1].status == 429

        async with _half_sent(narrow, source) as (reader, writer):
            await eventually(full)
            assert refused[-1].headers["Retry-After"] == "1"
            writer.write(b" " * 9)
            assert b" 401 " in await reader.readline()

        async def free() -> bool:
            return (await source.github(STATUS)).status == 202

        await eventually(free)


async def test_without_the_broker_senders_come_again(platform: Platform) -> None:
    async with replica(platform, kafka="127.0.0.1:1") as alone:
        source = await new_source(alone, "github")
        answer = await source.github(STATUS)
        assert (answer.status, "Retry-After" in answer.headers) == (503, True)
        assert (await source.github(payload("github_ping"), "ping")).status == 200


async def test_what_came_is_counted_by_outcome(gateway: Front) -> None:
    source = await new_source(gateway, "argocd")
    await source.token(payload("argocd_application"))
    await source.token(payload("argocd_application", app__status__operationState__phase="Terminating"))
    await source.token({}, secret=WRONG)
    await source.token({})
    async with gateway.session.get(gateway.url + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    counted = {
        line.rpartition(" ")[0] for line in lines if line.startswith("tidemark_webhooks_total") and "argocd" in line
    }
    outcomes = ("accepted", "ignored", "unauthorized", "unprocessable")
    assert counted >= {f'tidemark_webhooks_total{{kind="argocd",outcome="{outcome}"}}' for outcome in outcomes}
    assert not any(source.id in line for line in lines)


# --- canary


async def _used(gateway: Front) -> str:
    """All that the gateway answers where secrets and bodies are sent, rightly and wrongly."""
    replies: list[Reply] = []
    for kind in ("github", "gitlab", "argocd", "devlake", "generic"):
        source = await new_source(gateway, kind, secret=f"{CANARY}-{kind}-0123456789")
        body = body_of({"id": CANARY, "status": CANARY, "object_kind": CANARY, "deployment": [CANARY]})
        for secret in (source.secret, f"{CANARY}-wrong"):
            headers = (
                webhooks.github_headers(secret, body, "deployment_status", "d")
                | webhooks.own_headers(secret, body, int(time.time()))
                | {"X-Gitlab-Token": secret, "X-Tidemark-Token": secret, "Authorization": f"Bearer {secret}"}
            )
            replies.append(await source.post(body, headers, f"{source.path}?token={secret}"))
            replies.append(await source.post(b"{" + body, headers))
        replies.append(await source.staff("PATCH", json={"enabled": CANARY}))
        replies.append(await source.staff("POST", "/rotate", json={"secret": CANARY}))
        replies.append(await source.staff("GET"))
    assert {reply.status for reply in replies} >= {200, 401, 422}
    ignored = [reply.body.pop("reason", None) for reply in replies if reply.body.get("status") == "ignored"]
    assert ignored, "a reason may quote a word of the payload"
    return json.dumps([reply.body for reply in replies])


async def test_no_secret_and_no_body_is_seen_anywhere(gateway: Front, platform: Platform, tmp_path: Path) -> None:
    gateway.spans.clear()
    answers = await _used(gateway)
    spans = [f"{span.name} {dict(span.attributes or {})} {span.events} {span.status.description}" for span in
             gateway.spans.get_finished_spans()]  # fmt: skip
    async with front_process(platform, tmp_path) as (running, _):
        await connected(running)
        answers += await _used(running)
    log = (tmp_path / "gateway.log").read_text()
    rows = await gateway.sql("SELECT s::text AS row FROM gateway.webhook_source s")
    outbox = await gateway.sql("SELECT value AS row FROM gateway.outbox")
    found = {
        "answers": answers,
        "spans": "\n".join(spans),
        "log": log,
        "tables": "\n".join(row["row"] for row in (*rows, *outbox)),
    }
    seen = [place for place, text in found.items() if CANARY in text]
    print(f"WEBHOOK_CANARY spans={len(spans)} log_lines={log.count(chr(10))} rows={len(rows)} seen_in={seen}")
    assert spans
    assert "webhook refused" in log
    assert seen == []
