"""The dashboard asks for gauges and labels that exist."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry

from libs.common.db import Database
from services.reporting.metrics import DoraGauges
from services.reporting.settings import Settings

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "dora.json"
KEYWORDS = {"by", "max", "label_values", "tenant", "component", "environment"}


def dashboard() -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(DASHBOARD.read_text()))


def asked(value: object) -> Iterator[str]:
    """Every expression, wherever it stands."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("expr", "definition") or (name == "query" and isinstance(inner, str) and "(" in inner):
                yield inner
            else:
                yield from asked(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from asked(inner)


def exposed() -> set[str]:
    settings = Settings.model_construct(dora_gauge_places=1, dora_gauge_days=30)
    gauges = DoraGauges(cast(Database, None), lambda: datetime(2026, 3, 18, tzinfo=UTC), settings, CollectorRegistry())
    return {family.name for family in gauges.collect()}


def test_every_metric_of_the_dashboard_exists_and_every_gauge_is_shown() -> None:
    expressions = list(asked(dashboard()))
    named = {name for text in expressions for name in re.findall(r"\btidemark_\w+", text)}
    assert named == exposed()
    assert len(expressions) >= 10


def test_expressions_use_no_other_label() -> None:
    for text in asked(dashboard()):
        words = set(re.findall(r"(?<![\w$\"])[a-z_]+\b", text))
        assert words <= KEYWORDS | exposed(), text


def test_panels_are_distinct_and_read_the_chosen_source() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels for target in panel["targets"])
    variables = {each["name"] for each in dashboard()["templating"]["list"]}
    used = {name for text in asked(dashboard()) for name in re.findall(r"\$(\w+)", text)}
    assert used <= variables
