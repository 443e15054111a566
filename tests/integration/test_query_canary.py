"""Secrets that go in are seen nowhere: not in answers, logs, spans, events, nor in any table of the platform."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from libs.common.settings import CommonSettings
from libs.common.topics import ALL_TOPICS
from tests.integration.query_harness import Shop, Stack, customer, new_shop, query_stack
from tests.support.messaging import Bench
from tests.support.platform import Platform
from tests.support.processes import running_services
from tests.support.servers import Servers
from tests.support.spans import recorded_spans

PASSWORD = "canary-password-9431"
PLAIN = "canary-plain-secret-5521"
WRONG = "canary-wrong-password-7733"
PARAMETER = "canary-parameter-8812"


async def used(shop: Shop) -> str:
    """All that the service answers when secrets are made, used, misused and changed."""
    value = shop.stack.customer.value()
    replies = [
        await shop.call("POST", "secrets/types/", {"slug": "plain"}),
        await shop.secret("key", "plain", PLAIN),
        await shop.secret("object", "plain", {"a": PLAIN, "b": [PLAIN]}),
        await shop.secret("wrong", "analytics-postgres", value | {"password": WRONG}),
        await shop.secret("invalid", "analytics-postgres", value | {"port": PASSWORD, "more": PLAIN}),
        await shop.secret("refused", "analytics-postgres", value | {"host": "10.0.0.1"}),
        await shop.call("POST", "secrets/", {"key": "x", "type_slug": "plain", "value": PLAIN, "extra": 1}),
        await shop.call("PATCH", "secrets/key/", {"value": [PLAIN]}),
        await shop.call("POST", "secrets/key/rotate/", {"value": PLAIN}),
        await shop.call("GET", "secrets/"),
    ]
    for number, text in enumerate(
        (
            "SELECT id FROM tokens WHERE token <> '{{ secret.key }}'",
            "SELECT id FROM sales WHERE id = '{{ secret.key }}'",
            "SELECT '{{ secret.key }}' AS x",
            "SELECT id FROM tokens WHERE token = '{{ secret.db.password }}'",
            "EXPLAIN SELECT id FROM tokens WHERE token = '{{ secret.key }}'",
            "SELECT '{{ p }}' AS p FROM sales WHERE id = '{{ p }}'",
        )
    ):
        made = await shop.query(text, f"q{number}")
        path = f"analytics/queries/q{number}/execute/"
        headers = {"Idempotency-Key": f"k{number}"}
        replies += [made, await shop.call("POST", path, {"params": {"p": PARAMETER}}, headers=headers)]
    replies.append(await shop.query("SELECT 1", "through the wrong one", secret_key="wrong"))
    replies.append(await shop.execute("through-the-wrong-one"))
    assert sorted({reply.status for reply in replies}) == [200, 201, 400, 404, 422, 502]
    return json.dumps([reply.body for reply in replies])


async def dump(platform: Platform) -> str:
    """Every row of every table of the platform as text."""
    connection = await asyncpg.connect(platform.admin_url)
    try:
        tables = await connection.fetch(
            """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
               WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
        )
        found = [
            await connection.fetchval(f"SELECT coalesce(string_agg(row_to_json(t)::text, ''), '') FROM {row['name']} t")
            for row in tables
        ]
    finally:
        await connection.close()
    assert any("exec" in text or "SELECT" in text for text in found)
    return "\n".join(found)


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob("*.log"))


async def events(platform: Platform) -> str:
    """Every message of every topic, with its headers."""
    settings = CommonSettings(kafka=platform.kafka, topic_prefix=platform.topic_prefix)
    found = list[Any]()
    for topic in ALL_TOPICS:
        found += await Bench(settings).read(platform.topic_prefix + topic.name)
    return "\n".join(str((record.key, record.value, record.headers)) for record in found)


async def test_secrets_are_seen_nowhere(platform: Platform, servers: Servers, tmp_path: Path) -> None:
    names = ("query_executor",)
    async with (
        customer(servers) as someone,
        running_services(platform, tmp_path, names) as running,
        aiohttp.ClientSession() as session,
    ):
        shop = await new_shop(Stack(running.gateway_url, platform, someone, session))
        answers = await used(shop)
        await shop.stack.relayed()
    places = {
        "answers": answers,
        "logs": logs(tmp_path),
        "events": await events(platform),
        "tables": await dump(platform),
    }
    assert all(places.values())
    seen = {(canary, place) for place, text in places.items() for canary in (PASSWORD, PLAIN, WRONG) if canary in text}
    assert not seen
    assert PARAMETER not in places["logs"] + places["events"] + places["tables"]
    print(f"QUERY_CANARY seen={len(seen)} places={len(places)} characters={sum(map(len, places.values()))}")


async def test_spans_name_no_secret(platform: Platform, servers: Servers) -> None:
    with recorded_spans() as spans:
        async with query_stack(platform, servers) as stack:
            await used(await new_shop(stack))
    told = [
        f"{span.name} {dict(span.attributes or {})} {span.events} {span.status.description}"
        for span in spans.get_finished_spans()
    ]
    assert told
    assert not [text for text in told for canary in (PASSWORD, PLAIN, WRONG, PARAMETER) if canary in text]
