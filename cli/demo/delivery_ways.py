"""The ways on which other systems tell of deployments, each as its sender would."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import aiohttp
import orjson

from cli.client import Gateway, GatewayError
from cli.demo.deliveries import Delivery
from libs.common.broker import NO_EXTENSIONS, Publisher, build_broker
from libs.common.events import DeploymentRecorded
from libs.common.ids import deployment_id
from libs.common.settings import CommonSettings
from libs.common.topics import DEPLOYMENT_RECORDED

SOURCE: Final = "/demo/pipeline"
_BATCH: Final = "application/cloudevents-batch+json"
_GITHUB_STATES: Final = {"SUCCEEDED": "success", "FAILED": "failure", "ROLLED_BACK": "error"}
_GITLAB_STATES: Final = {"SUCCEEDED": "success", "FAILED": "failed", "ROLLED_BACK": "failed"}
_PROJECT: Final = 77


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook source as its sender knows it."""

    path: str
    secret: str


class Sender:
    """Posts bodies that are not the API's own JSON."""

    def __init__(self, gateway_url: str, token: str) -> None:
        self._session = aiohttp.ClientSession(gateway_url)
        self._token = token

    async def close(self) -> None:
        await self._session.close()

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        """The parsed answer. Raises GatewayError."""
        async with self._session.post(path, data=body, headers=headers) as response:
            answer = await response.json(content_type=None)
            if response.status >= 300:
                raise GatewayError(response.status, answer)
            return answer

    async def events(self, batch: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """CloudEvents at once; what became of each."""
        headers = {"Content-Type": _BATCH, "Authorization": f"Bearer {self._token}"}
        results: list[dict[str, Any]] = (await self.post("/events", orjson.dumps(list(batch)), headers))["results"]
        return results

    async def imported(self, catalogue: str) -> Any:
        """A Backstage file."""
        headers = {"Content-Type": "application/yaml", "Authorization": f"Bearer {self._token}"}
        return await self.post("/api/v1/components/import", catalogue.encode(), headers)


def deployment_event(delivery: Delivery, status: str, at: datetime, *, component: str | None = None) -> dict[str, Any]:
    """As a pipeline sends it: a structured CloudEvent with the names that the sender uses."""
    finished = {} if status == "IN_PROGRESS" else {"finishedAt": at.isoformat()}
    return {
        "specversion": "1.0",
        "type": DEPLOYMENT_RECORDED.name,
        "source": SOURCE,
        "id": f"{delivery.number}-{status}",
        "subject": f"run-{delivery.number}",
        "time": at.isoformat(),
        "data": {
            "componentRef": component or delivery.component,
            "environmentRef": delivery.environment,
            "status": status,
            "startedAt": delivery.started_at.isoformat(),
            "version": delivery.version,
            "commitSha": delivery.commit,
            "commitAt": delivery.commit_at.isoformat(),
            "deployedBy": delivery.deployed_by,
            **finished,
        },
    }


async def by_cloudevents(sender: Sender, found: Sequence[Delivery]) -> int:
    """In one batch, start and end of each; how many events."""
    begun = [deployment_event(each, "IN_PROGRESS", each.started_at) for each in found]
    ended = [deployment_event(each, each.status, each.finished_at) for each in found]
    results = await sender.events([*begun, *ended])
    return sum(result["status"] == "accepted" for result in results)


async def by_github(sender: Sender, hook: Hook, found: Sequence[Delivery]) -> int:
    """`deployment_status`, signed over the raw body."""
    for each in found:
        body = orjson.dumps(_github(each))
        signature = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "deployment_status",
            "X-GitHub-Delivery": f"delivery-{each.number}",
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        await sender.post(hook.path, body, headers)
    return len(found)


def _github(delivery: Delivery) -> dict[str, Any]:
    repository = f"demo/{delivery.component}"
    started, finished = delivery.started_at.isoformat(), delivery.finished_at.isoformat()
    state = {"state": _GITHUB_STATES[delivery.status], "created_at": started, "updated_at": finished}
    return {
        "action": "created",
        "deployment": {
            "id": delivery.number,
            "sha": delivery.commit,
            "ref": f"refs/tags/{delivery.version}",
            "environment": delivery.environment,
            "creator": {"login": delivery.deployed_by},
            "created_at": started,
        },
        "deployment_status": {"id": delivery.number, "environment": delivery.environment, **state},
        "repository": {"id": 4711, "full_name": repository},
    }


async def by_gitlab(sender: Sender, hook: Hook, found: Sequence[Delivery]) -> int:
    """`Deployment Hook`, signed as Standard Webhooks have it; start and end are events of their own."""
    for each in found:
        await _gitlab(sender, hook, each, "running", each.started_at)
        await _gitlab(sender, hook, each, _GITLAB_STATES[each.status], each.finished_at)
    return 2 * len(found)


async def _gitlab(sender: Sender, hook: Hook, delivery: Delivery, status: str, at: datetime) -> None:
    project = f"demo/{delivery.component}"
    payload = {
        "object_kind": "deployment",
        "deployment_id": delivery.number,
        "status": status,
        "status_changed_at": at.strftime("%Y-%m-%d %H:%M:%S %z"),
        "environment": delivery.environment,
        "short_sha": delivery.commit[:8],
        "ref": delivery.version,
        "user": {"username": delivery.deployed_by},
        "project": {"id": _PROJECT, "path_with_namespace": project},
    }
    body, message, now = orjson.dumps(payload), f"{delivery.number}-{status}", str(int(time.time()))
    key = base64.b64decode(hook.secret.removeprefix("whsec_"))  # as Standard Webhooks write keys
    signed = hmac.new(key, f"{message}.{now}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "X-Gitlab-Event": "Deployment Hook",
        "webhook-id": message,
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
    await sender.post(hook.path, body, headers)


async def by_kafka(settings: CommonSettings, tenant: UUID, found: Sequence[Delivery]) -> int:
    """Straight to the topic, as a system with credentials of the broker may."""
    broker = build_broker(settings, "demo")
    await broker.connect()
    try:
        publisher = Publisher(broker, settings, service="demo")
        events = [(f"{each.component}:{each.environment}", _recorded(tenant, each), NO_EXTENSIONS) for each in found]
        await publisher.send_many(DEPLOYMENT_RECORDED, events)
    finally:
        await broker.stop()
    return len(found)


def _recorded(tenant: UUID, delivery: Delivery) -> DeploymentRecorded:
    return DeploymentRecorded(
        tenant=tenant,
        deployment_id=deployment_id(tenant, "/demo/spinnaker", str(delivery.number)),
        component_ref=delivery.component,
        environment_ref=delivery.environment,
        version=delivery.version,
        status=delivery.status,
        started_at=delivery.started_at,
        finished_at=delivery.finished_at,
        recorded_at=delivery.finished_at,
        commit_sha=delivery.commit,
        commit_at=delivery.commit_at,
        deployed_by=delivery.deployed_by,
        source="/demo/spinnaker",
    )


async def new_hook(gateway: Gateway, name: str, kind: str, components: Iterable[str]) -> Hook:
    """A source for a vendor's webhooks, whose repositories are `demo/` and the component's name."""
    mapping = {"components": {f"demo/{component}": component for component in components}}
    source = await gateway.post("/webhook-sources", {"name": name, "kind": kind, "mapping": mapping})
    return Hook(source["path"], source["secret"])
