"""A webhook source of a fresh tenant, and what a sender, its staff and the broker see."""

import json
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from libs.common.topics import AUDIT_RECORDED, DEPLOYMENT_RECORDED, Topic
from tests.integration.gateway_harness import Front, Reply
from tests.support import webhooks
from tests.support.processes import eventually


@dataclass(frozen=True, slots=True)
class Source:
    gateway: Front
    tenant: UUID
    id: str
    secret: str

    @property
    def path(self) -> str:
        return f"/webhooks/{self.id}"

    async def post(self, body: bytes, headers: dict[str, str], path: str | None = None) -> Reply:
        """As the sender does: with no token of ours."""
        url = self.gateway.url + (path or self.path)
        async with self.gateway.session.post(url, data=body, headers=headers) as answer:
            text = await answer.text()
            shown = json.loads(text) if answer.content_type == "application/json" else None
            return Reply(answer.status, answer.headers, text, shown)

    async def github(self, content: object, event: str = "deployment_status", **options: Any) -> Reply:
        body = webhooks.body_of(content)
        secret, delivery = options.get("secret", self.secret), options.get("delivery", str(uuid4()))
        return await self.post(body, webhooks.github_headers(secret, body, event, delivery))

    async def gitlab(self, content: object, *, at: int | None = None, message: str | None = None) -> Reply:
        body = webhooks.body_of(content)
        headers = webhooks.standard_headers(self.secret, body, message or str(uuid4()), at or int(time.time()))
        return await self.post(body, headers)

    async def token(self, content: object, header: str = "X-Tidemark-Token", secret: str | None = None) -> Reply:
        return await self.post(webhooks.body_of(content), {header: secret or self.secret})

    async def staff(self, method: str, rest: str = "", **options: Any) -> Reply:
        """A request of the tenant's staff about this source."""
        return await self.gateway.call(method, f"/webhook-sources/{self.id}{rest}", tenant=self.tenant, **options)

    async def events(self, topic: Topic = DEPLOYMENT_RECORDED) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """Headers and values of this tenant's messages; of audit events those about this source."""
        found = []
        for record in await self.gateway.events(topic):
            headers = {name: (value or b"").decode() for name, value in record.headers}
            if headers.get("ce_tenant") == str(self.tenant):
                found.append((headers, json.loads(record.value)))
        return [each for each in found if topic is DEPLOYMENT_RECORDED or each[1]["resource_id"] == self.id]

    async def rejections(self) -> list[dict[str, Any]]:
        """What the audit says of refused signatures."""
        return [event for _, event in await self.events(AUDIT_RECORDED) if event["action"] == "REJECT"]


async def new_source(gateway: Front, kind: str, *, tenant: UUID | None = None, **body: object) -> Source:
    tenant = tenant or await gateway.new_tenant()
    wanted = {"name": f"{kind}-{uuid4().hex[:6]}", "kind": kind, **body}
    made = await gateway.call("POST", "/webhook-sources", tenant=tenant, json=wanted)
    assert made.status == 201, made.text
    return Source(gateway, tenant, made.body["id"], made.body["secret"])


async def connected(gateway: Front) -> None:
    """Wait until the gateway has found the broker: until then it asks senders to come again."""
    source = await new_source(gateway, "generic")

    async def taken() -> bool:
        return (await source.token(webhooks.payload("generic_deployment"))).status == 202

    await eventually(taken)
