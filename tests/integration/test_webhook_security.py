"""Whoever does not hold a source's secret changes nothing, costs little and learns nothing."""

import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from libs.common.sealed import encode
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
