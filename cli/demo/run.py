"""The whole flow through the gateway, with progress on the way."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import Progress

from cli.client import Gateway
from cli.demo import report
from cli.demo.warehouse import DemoWarehouse
from cli.settings import OperatorSettings
from cli.tokens import development_token

UNUSED_DAYS = 30
SPACE = {"name": "Shop", "slug": "shop", "description": "The demo shop's data products"}
PRODUCTS = {
    "Orders": ("public.orders", "public.order_items"),
    "Customers": ("public.customers",),
    "Payments": ("finance.payments", 'finance."Monthly Revenue"'),
    "Campaigns": ("marketing.campaigns", "marketing.clicks"),
    "Inventory": ("public.inventory",),
    "Returns": ("public.returns",),
    "Legacy reports": ("public.legacy_report_2019",),
}


class NoDemoWarehouse(Exception):
    """The demo needs the local stack's second cluster."""

    def __init__(self) -> None:
        super().__init__("TIDEMARK_WAREHOUSE_URL is not set and no local stack has written it; run `make demo`")


async def _run_workload(console: Console, warehouse: DemoWarehouse) -> None:
    console.print("[bold]1[/] The demo warehouse: tables, users, rights")
    await warehouse.prepare()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  people are querying", total=None)
        ran = await warehouse.work(lambda steps: progress.advance(task, steps))
    console.print(f"[bold]2[/] {ran} statements by 5 users ran there")
    await asyncio.sleep(1)  # the server's log collector writes behind the statements


async def ensure_tenant(settings: OperatorSettings, name: str, slug: str) -> UUID:
    """The demo's tenant, made at its first run."""
    token = development_token(settings, None, ("superuser",), username="operator")
    async with Gateway(settings.gateway_url, token) as gateway:
        tenant = await gateway.ensure("/tenants", {"name": name, "slug": slug})
    return UUID(tenant["id"])


async def register(gateway: Gateway, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The demo's connector, with the settings of this run."""
    connector: dict[str, Any] = await gateway.ensure("/connectors", {"name": name, "settings": settings})
    # An earlier run left the connector with that run's password.
    changed: dict[str, Any] = await gateway.call("PATCH", f"/connectors/{connector['id']}", {"settings": settings})
    return changed


async def show_test(console: Console, gateway: Gateway, connector: Mapping[str, Any]) -> None:
    """Test a connector and print its steps."""
    for step in (await gateway.post(f"/connectors/{connector['id']}/test"))["steps"]:
        outcome = "[green]✓[/]" if step["ok"] else "[red]✗[/]"
        console.print(f"    {outcome} {step['step']}" + ("" if step["ok"] else f": {step['detail']}"))


async def _mine(console: Console, gateway: Gateway, connector: Mapping[str, Any]) -> None:
    await show_test(console, gateway, connector)
    started = time.monotonic()
    mined = await gateway.post(f"/connectors/{connector['id']}/query-log-mining")
    console.print(f"[bold]4[/] Mined the query log: {mined} in {time.monotonic() - started:.1f} s")


async def describe_products(gateway: Gateway) -> None:
    """The demo's space and what is in it."""
    await gateway.ensure("/spaces", SPACE)
    for name, tables in PRODUCTS.items():
        body = {"name": name, "tables": [{"name": table} for table in tables]}
        await gateway.ensure("/spaces/shop/products", body)


async def show_usage(console: Console, gateway: Gateway) -> None:
    """Aggregate, and print what came of it."""
    usage = "/spaces/shop/usage"
    answer = await gateway.post(f"{usage}/aggregate")
    console.print(f"[bold]5[/] Aggregated: {answer}\n")
    report.show_products(console, (await gateway.get(usage))["items"])
    report.show_popular(console, (await gateway.get(f"{usage}/popular-queries"))["items"])
    report.show_unused(console, await gateway.get(f"{usage}/unused", days=UNUSED_DAYS), UNUSED_DAYS)
    report.show_unmatched(console, (await gateway.get(f"{usage}/unmatched"))["items"])


async def run_demo(settings: OperatorSettings, console: Console) -> None:
    """Run the workload, mine it, show what came of it. The stack must be up."""
    if settings.warehouse_url is None:
        raise NoDemoWarehouse
    warehouse = DemoWarehouse(settings.warehouse_url.get_secret_value())
    await _run_workload(console, warehouse)
    tenant = await ensure_tenant(settings, "Demo", "demo")
    token = development_token(settings, tenant, ("staff",), username="demo")
    async with Gateway(settings.gateway_url, token) as gateway:
        connector = await register(gateway, "Shop warehouse", warehouse.settings())
        console.print("[bold]3[/] Registered it as a connector and tested it:")
        await describe_products(gateway)
        await _mine(console, gateway, connector)
        await show_usage(console, gateway)
    url = settings.gateway_url
    console.print(f"\nThe stack goes on running at {url}, its API at {url}/docs; `make down` stops it.")
    console.print("A token for your own requests (12 hours):")
    console.print(token, soft_wrap=True, highlight=False)
