"""A month of deployments and activity, told in all ways that other systems have, and what the reports say of them."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from rich.console import Console

from cli.client import Gateway, GatewayError
from cli.demo import delivery_ways as ways
from cli.demo.deliveries import CATALOGUE, DAYS, ENVIRONMENTS, MINUTES, STAGING, Delivery, deliveries
from cli.demo.delivery_ways import Hook, Sender
from cli.settings import OperatorSettings
from cli.tokens import development_token
from libs.common.topics import AUDIT_RECORDED

_REPORTS: Final = "/api/v1/analytics"
_LATE: Final = "checkout-worker"
_ACTIVE: Final = {"jane": 9, "joe": 5, "ci-bot": 14}
_WAIT_SECONDS: Final = 60.0


class DoraDemoFailed(Exception):
    """A report does not say what was sent."""


async def _prepared(console: Console, gateway: Gateway, sender: Sender) -> dict[str, Hook]:
    imported = await sender.imported(CATALOGUE)
    await gateway.post("/api/v1/components", {"name": "legacy-api", "kind": "api", "lifecycle": "deprecated"})
    for name, tier in ENVIRONMENTS:
        await gateway.post("/api/v1/environments", {"name": name, "tier": tier})
    hooks = {kind: await ways.new_hook(gateway, f"Demo {kind}", kind, MINUTES) for kind in ("github", "gitlab")}
    made = imported["created"]
    console.print(f"[bold]1[/] {made} components from a Backstage file, one made by hand, two environments,")
    console.print("    a webhook source each for GitHub and GitLab")
    return hooks


async def _sent(
    settings: OperatorSettings, tenant: UUID, sender: Sender, hooks: dict[str, Hook], found: Sequence[Delivery]
) -> dict[str, int]:
    """Events by the way on which they went."""
    of = {way: [each for each in found if each.way == way] for way in ("cloudevents", "github", "gitlab", "kafka")}
    return {
        "CloudEvents, one batch": await ways.by_cloudevents(sender, of["cloudevents"]),
        "GitHub webhooks": await ways.by_github(sender, hooks["github"], of["github"]),
        "GitLab webhooks": await ways.by_gitlab(sender, hooks["gitlab"], of["gitlab"]),
        "Kafka": await ways.by_kafka(settings.messaging(), tenant, of["kafka"]),
    }


def _activity(components: Sequence[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """What people did elsewhere with components."""
    return [
        {
            "specversion": "1.0",
            "type": AUDIT_RECORDED.name,
            "source": "/demo/portal",
            "id": f"view-{person}-{number}",
            "time": (now - timedelta(hours=number + 1)).isoformat(),
            "data": {
                "action": "VIEW",
                "resourceType": "component",
                "resourceId": (seen := components[number % len(components)]["id"]),
                "componentId": seen,
                "actorId": person,
                "actorUsername": person,
                "actorType": "user",
            },
        }
        for person, times in _ACTIVE.items()
        for number in range(times)
    ]


async def _refused(console: Console, sender: Sender, hook: Hook, delivery: Delivery) -> None:
    wrong = ways.deployment_event(delivery, "SUCCEEDED", delivery.started_at - timedelta(hours=1))
    forged = Hook(hook.path, "not the secret of this source")
    for what, attempt in (
        ("an end before its start", sender.events([wrong])),
        ("a forged signature", ways.by_github(sender, forged, [delivery])),
    ):
        try:
            await attempt
        except GatewayError as error:
            console.print(f"    [green]✓[/] {what}: {error}")
        else:
            raise DoraDemoFailed(f"{what} was taken")


async def _parked(console: Console, gateway: Gateway, sender: Sender, delivery: Delivery) -> None:
    """An event of a component that nobody has made yet waits, and is applied when it is made."""
    event = ways.deployment_event(delivery, "SUCCEEDED", delivery.finished_at, component=_LATE)
    await sender.events([event | {"id": "parked", "subject": "run-parked"}])

    async def waiting() -> Any:
        return (await gateway.get("/api/v1/deployments/parked"))["items"]

    reason = (await _until(waiting))[0]["reason"]
    await gateway.post("/api/v1/components", {"name": _LATE, "kind": "service", "lifecycle": "planned"})

    async def applied() -> bool:
        return not await waiting()

    await _until(applied)
    console.print(f"    [green]✓[/] an event was parked ({reason}), and applied when the component was made")


async def _until(check: Any) -> Any:
    """The first result that is something. Raises DoraDemoFailed."""
    for _ in range(int(_WAIT_SECONDS / 0.2)):
        found = await check()
        if found:
            return found
        await asyncio.sleep(0.2)
    raise DoraDemoFailed(f"the reports do not say within {_WAIT_SECONDS:.0f} s what was sent")


async def _settled(gateway: Gateway, succeeded: int, decided: int) -> None:
    async def so() -> bool:
        dora = await gateway.get(f"{_REPORTS}/dora", days=DAYS)
        told = dora["deploymentFrequency"]["total"], dora["changeFailureRate"]["total"]
        return bool(told == (succeeded, decided))

    await _until(so)


async def _show(console: Console, gateway: Gateway) -> None:
    (production,) = (await gateway.get("/api/v1/environments", tier="production"))["items"]
    shown: tuple[tuple[str, dict[str, str | int]], ...] = (
        (f"{_REPORTS}/catalog", {}),
        (f"{_REPORTS}/dora", {"days": DAYS}),
        (f"{_REPORTS}/dora", {"days": DAYS, "environmentId": production["id"]}),
        (f"{_REPORTS}/usage", {"days": DAYS}),
    )
    for path, query in shown:
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        console.print(f"\n[bold]GET {path}{'?' if asked else ''}{asked}[/]", soft_wrap=True)
        console.print_json(json.dumps(await gateway.get(path, **query)), indent=2)
    for report in ("catalog", "dora", "usage"):
        console.print(f"\n[bold]GET {_REPORTS}/export?report={report}&days={DAYS}[/]")
        console.print((await gateway.get(f"{_REPORTS}/export", report=report, days=DAYS)).rstrip(), highlight=False)


async def run_dora_demo(settings: OperatorSettings, console: Console) -> None:
    """In a tenant of its own at each run. The stack must be up."""
    name, now = f"Deliveries {uuid4().hex[:6]}", datetime.now(UTC)
    operator = development_token(settings, None, ("superuser",), username="operator")
    async with Gateway(settings.gateway_url, operator) as superuser:
        tenant = UUID((await superuser.post("/tenants", {"name": name}))["id"])
    token = development_token(settings, tenant, ("staff",), username="demo")
    async with Gateway(settings.gateway_url, token) as gateway:
        sender = Sender(settings.gateway_url, token)
        try:
            await _demonstrate(settings, console, tenant, gateway, sender, list(deliveries(now)), now)
        finally:
            await sender.close()
    console.print(f"\nThe stack goes on running at {settings.gateway_url}; `make down` stops it.")


async def _demonstrate(
    settings: OperatorSettings,
    console: Console,
    tenant: UUID,
    gateway: Gateway,
    sender: Sender,
    found: Sequence[Delivery],
    now: datetime,
) -> None:
    hooks = await _prepared(console, gateway, sender)
    sent = await _sent(settings, tenant, sender, hooks, found)
    components = (await gateway.get("/api/v1/components"))["items"]
    acted = await sender.events(_activity(components, now))
    told = ", ".join(f"{count} by {way}" for way, count in sent.items())
    console.print(f"[bold]2[/] {len(found)} deployments of {DAYS} days: {told}; {len(acted)} audit events")
    succeeded = sum(each.status == "SUCCEEDED" for each in found)
    await _settled(gateway, succeeded, len(found))
    await _sent(settings, tenant, sender, hooks, found)
    await sender.events(_activity(components, now))
    console.print("[bold]3[/] All of it was sent once more, and changes nothing. Beside that:")
    await _refused(console, sender, hooks["github"], found[-1])
    await _parked(console, gateway, sender, next(each for each in found if each.environment == STAGING))
    await _settled(gateway, succeeded + 1, len(found) + 1)
    console.print("[bold]4[/] The reports:")
    await _show(console, gateway)
