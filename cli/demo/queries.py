"""Saved queries through the gateway: an app, its secrets, what they answer and what is refused."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.client import Gateway, GatewayError
from cli.demo.query_samples import ATTACKS, SAMPLES, Attack, Sample

APP: Final = "Query demo"
APPS: Final = "/api/apps/"
_SEEDED_WITHIN_SECONDS: Final = 15.0
_SHOWN_ROWS: Final = 6
_SHOWN_TEXT: Final = 78


class QueryDemo:
    """One run in a fresh app; `failures` counts what went other than it must."""

    def __init__(self, console: Console, gateway: Gateway, secrets: Mapping[str, Mapping[str, Any]]) -> None:
        """`secrets`: the value of the connection secret of each engine that is there."""
        self._console = console
        self._gateway = gateway
        self._secrets = secrets
        self._app = ""
        self.failures = 0

    async def prepare(self) -> None:
        """An app with its secrets, in place of that of an earlier run."""
        for app in (await self._gateway.get(APPS))["data"]:
            if app["name"] == APP:
                await self._gateway.call("DELETE", f"{APPS}{app['slug']}/")
        made = await self._gateway.post(APPS, {"name": APP, "description": "Made by `make demo-query`"})
        self._app = f"{APPS}{made['data']['slug']}/"
        await self._seeded()
        for engine, value in self._secrets.items():
            body = {"key": engine, "type_slug": f"analytics-{engine}", "value": value}
            await self._gateway.post(f"{self._app}secrets/", body)
        await self._ensure_plain()
        body = {"key": "api", "type_slug": "plain", "value": {"token": "a-secret-of-the-demo"}}
        await self._gateway.post(f"{self._app}secrets/", body)

    async def _ensure_plain(self) -> None:
        """The tenant's own type of keys and values, which outlives the app."""
        types = (await self._gateway.get(f"{self._app}secrets/types/"))["data"]
        if not any(each["slug"] == "plain" for each in types):
            await self._gateway.post(f"{self._app}secrets/types/", {"slug": "plain"})

    async def _seeded(self) -> None:
        """The types of secrets of a new tenant come a moment after it."""
        until = time.monotonic() + _SEEDED_WITHIN_SECONDS
        while time.monotonic() < until:
            if (await self._gateway.get(f"{self._app}secrets/types/"))["data"]:
                return
            await asyncio.sleep(0.2)

    def _is_there(self, where: str) -> bool:
        return where == "internal" or where in self._secrets

    async def test_secrets(self) -> None:
        """One line for each: whether it works, what its login may do, how many tables it sees."""
        for engine in self._secrets:
            secret = f"{self._app}secrets/{engine}/"
            tested = (await self._gateway.post(f"{secret}test/"))["data"]
            last = tested["steps"][-1]
            self.failures += not tested["ok"]
            mark = "[yellow]![/]" if last["warning"] else "[green]✓[/]" if tested["ok"] else "[red]✗[/]"
            seen = len((await self._gateway.get(f"{secret}schema/"))["data"]) if tested["ok"] else 0
            self._console.print(f"    {mark} {engine}: {escape(last['detail'])}; {seen} tables to be read")

    async def run_samples(self) -> None:
        """Save and execute each query whose server is there."""
        for sample in SAMPLES:
            if self._is_there(sample.where):
                await self._run(sample)

    async def _saved(self, sample: Sample | Attack, name: str) -> str:
        body: dict[str, Any] = {"name": name, "query_text": sample.text}
        internal = sample.where == "internal"
        body |= {"connection_type": "internal"} if internal else {"secret_key": sample.where}
        slug: str = (await self._gateway.post(f"{self._app}analytics/queries/", body))["data"]["slug"]
        return slug

    async def _run(self, sample: Sample) -> None:
        started = time.monotonic()
        try:
            slug = await self._saved(sample, sample.name)
            path = f"{self._app}analytics/queries/{slug}/execute/"
            answer = await self._gateway.post(path, {"params": sample.params})
        except GatewayError as error:
            self.failures += 1
            self._console.print(f"    [red]✗[/] {sample.where}: {escape(sample.name)}: {escape(told(error))}")
            return
        took = f"({sample.where}, {answer['total']} rows, {(time.monotonic() - started) * 1000:.0f} ms with saving)"
        self._console.print(f"  [bold]{escape(sample.name)}[/] [dim]{took}[/]", _rows(answer["data"][:_SHOWN_ROWS]))

    async def try_attacks(self) -> None:
        """One line for each: the statement, the code, the message."""
        refused = 0
        for number, attack in enumerate(ATTACKS):
            if self._is_there(attack.where):
                refused += await self._is_refused(attack, number)
        self._console.print(f"    {refused} statements refused, none of them reached a server")

    async def _is_refused(self, attack: Attack, number: int) -> bool:
        shown = escape(f"{attack.where:13} {_short(attack.text)}")
        try:
            slug = await self._saved(attack, f"Attack {number}")
            if attack.params is not None:
                await self._gateway.post(f"{self._app}analytics/queries/{slug}/execute/", {"params": attack.params})
        except GatewayError as error:
            if error.status == 400:
                self._console.print(f"    [green]✓[/] {shown}\n        {escape(told(error))}", highlight=False)
                return True
            shown += escape(f": {told(error)}")
        self.failures += 1
        self._console.print(f"    [red]✗ not refused:[/] {shown}", highlight=False)
        return False


def told(error: GatewayError) -> str:
    """The code and the message of an answer; the message of a field where it says more."""
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message", str(error))
    fields = [
        f"{field}: {text}" for field, texts in body.get("errors", {}).items() for text in texts if text != message
    ]
    return f"{error.status} {body.get('code', '')}: {' '.join([message, *fields])}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_TEXT else line[: _SHOWN_TEXT - 1] + "…"


def _rows(rows: list[dict[str, Any]]) -> Table:
    table = Table(header_style="bold", pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*("" if row.get(name) is None else escape(str(row[name])) for name in names))
    return table
