"""`tidemark`: talks to the gateway; only `token` and `replay` use the operator's own settings."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import aiohttp
import typer
from aiokafka.errors import KafkaError

from cli.client import Gateway, GatewayError
from cli.demo.dora import DoraDemoFailed, run_dora_demo
from cli.demo.report import report_console
from cli.demo.run import NoDemoWarehouse, run_demo
from cli.settings import OperatorSettings
from cli.tokens import NoSigningSecret, development_token
from libs.common.errors import TidemarkError
from libs.common.replay import replay as replay_dead_letters
from libs.common.topics import ALL_TOPICS

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
tenant_app = typer.Typer(no_args_is_help=True, help="Tenants.")
app.add_typer(tenant_app, name="tenant")

_KNOWN = (
    GatewayError,
    NoSigningSecret,
    NoDemoWarehouse,
    DoraDemoFailed,
    TidemarkError,
    KafkaError,
    aiohttp.ClientConnectionError,
    OSError,
)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run, and turn the failures that a user can mend into one line."""
    try:
        return asyncio.run(work)
    except _KNOWN as error:
        typer.echo(f"tidemark: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def token(
    tenant: Annotated[UUID | None, typer.Option(help="Tenant that the token names.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Role, such as staff or superuser; may be repeated.")] = None,
    user: Annotated[str, typer.Option(help="User name.")] = "developer",
    environment: Annotated[str, typer.Option(help="production or staging.")] = "production",
) -> None:
    """Print a development token."""
    try:
        typer.echo(development_token(OperatorSettings(), tenant, role or (), user, environment))
    except NoSigningSecret as error:
        typer.echo(f"tidemark: {error}", err=True)
        raise typer.Exit(1) from None


def _bearer(settings: OperatorSettings, tenant: UUID | None, *roles: str) -> str:
    given = settings.token
    return given.get_secret_value() if given else development_token(settings, tenant, roles)


@tenant_app.command("create")
def create_tenant(
    name: str, slug: Annotated[str | None, typer.Option(help="Made from the name by default.")] = None
) -> None:
    """Create a tenant and print it."""

    async def work() -> None:
        settings = OperatorSettings()
        async with Gateway(settings.gateway_url, _bearer(settings, None, "superuser")) as gateway:
            body = {"name": name, **({"slug": slug} if slug else {})}
            typer.echo(json.dumps(await gateway.post("/tenants", body), indent=2))

    _run(work())


@app.command()
def mine(
    connector: UUID,
    tenant: Annotated[UUID | None, typer.Option(help="Tenant, where no TIDEMARK_TOKEN is set.")] = None,
) -> None:
    """Mine a connector's query log and wait for the outcome."""

    async def work() -> None:
        settings = OperatorSettings()
        async with Gateway(settings.gateway_url, _bearer(settings, tenant, "staff")) as gateway:
            typer.echo(json.dumps(await gateway.post(f"/connectors/{connector}/query-log-mining"), indent=2))

    _run(work())


@app.command()
def replay(
    topic: Annotated[str, typer.Argument(help="Topic whose dead letters go back to it, such as bi_query.scraped.")],
    maximum: Annotated[int, typer.Option("--max", min=1, help="Put back at most so many.")] = 1000,
) -> None:
    """Put dead letters back on their topic, once the cause is repaired."""
    known = {each.name: each for each in ALL_TOPICS}
    if topic not in known:
        typer.echo(f"tidemark: there is no topic {topic!r}; topics are {', '.join(known)}", err=True)
        raise typer.Exit(1)
    report = _run(replay_dead_letters(OperatorSettings().messaging(), known[topic], maximum))
    typer.echo(json.dumps(asdict(report), indent=2))


@app.command()
def demo() -> None:
    """Run a workload on the demo warehouse, mine it and show what is used."""
    _run(run_demo(OperatorSettings(), report_console()))


@app.command("demo-dora")
def demo_dora() -> None:
    """Tell of a month of deployments in all ways there are, and show what the reports say."""
    _run(run_dora_demo(OperatorSettings(), report_console()))


if __name__ == "__main__":
    app()
