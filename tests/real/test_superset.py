"""The tool against a real Superset 6.1: what people made there comes out with real tables, and without literals."""

import time

import pytest

from deploy.local.superset import ADMIN
from deploy.local.superset_api import superset_api
from deploy.local.superset_content import ANALYST, LITERAL
from services.scraper.tools.http_client import Limits
from services.scraper.tools.interface import ToolError
from services.scraper.tools.superset import Superset
from tests.real.conftest import RealSuperset
from tests.support.superset import LOCAL, scrape
from tests.support.superset import superset as settings_of

pytestmark = pytest.mark.real


def tool(superset: RealSuperset, **settings: object) -> Superset:
    return Superset(settings_of(superset.url, ADMIN, superset.password, **settings), LOCAL, Limits())


async def test_everything_is_read_with_its_tables_and_without_literals(superset: RealSuperset) -> None:
    started = time.monotonic()
    done = await scrape(tool(superset))
    seconds = time.monotonic() - started
    content, db = superset.content, superset.database
    orders, customers = f"{db}.public.orders", f"{db}.public.customers"
    assert done.complete
    assert set(done.ids("chart")) == {str(chart) for chart in content.charts}
    assert done.tables("chart", str(content.revenue)) == {f"{db}.finance.payments"}
    assert done.tables("chart", str(content.orders)) == {orders}
    assert done.tables("chart", str(content.countries)) == {orders, customers}
    assert done.tables("chart", str(content.nested)) == {orders, customers}
    assert done.tables("chart", str(content.months)) == {f'{db}.finance."Monthly Revenue"'}
    assert {use.column for use in done.record("chart", str(content.months)).columns} == {"month", "Net"}
    assert all(done.record("chart", str(chart)).sql_text for chart in content.charts)
    text = "".join(record.model_dump_json() for record in done.records)
    assert LITERAL not in text
    assert "own_runs_are_no_usage" not in text
    print("SUPERSET_READY", *(f"{step}_s={took:.1f}" for step, took in superset.seconds.items()))
    print(f"SUPERSET records={len(done.records)} warnings={len(done.warnings)} scrape_s={seconds:.1f}")


async def test_charts_on_dashboards_and_the_saved_query_are_references(superset: RealSuperset) -> None:
    done = await scrape(tool(superset))
    content = superset.content
    on_dashboards = {f"{content.finance}:{content.revenue}", f"{content.board}:{content.revenue}"}
    assert set(done.ids("dashboard_chart")) == on_dashboards | {f"{content.board}:{content.orders}"}
    record = done.record("dashboard_chart", f"{content.finance}:{content.revenue}")
    assert (record.dashboard_title, record.executed_at) == ("Finance", None)
    assert record.dashboard_url == f"{superset.url}/superset/dashboard/finance/"
    saved = {f"{superset.database}.marketing.{name}" for name in ("clicks", "campaigns")}
    assert done.tables("saved_query", str(content.saved)) == saved


async def test_runs_have_their_user_their_time_and_what_a_template_became(superset: RealSuperset) -> None:
    done = await scrape(tool(superset))
    runs = [record for record in done.records if record.resource_type == "query_log"]
    assert len(runs) >= superset.content.runs
    assert {record.executed_by for record in runs} == {ANALYST}
    assert all(record.executed_at is not None for record in runs)
    tables = {table.display for record in runs for table in record.tables}
    names = ("public.customers", "public.inventory", "finance.payments", 'finance."Monthly Revenue"')
    assert tables >= {f"{superset.database}.{name}" for name in names}
    assert not any("no_such_table" in table for table in tables)


async def test_the_next_scrape_reads_only_new_runs_and_all_references(superset: RealSuperset) -> None:
    first = await scrape(tool(superset))
    again = await scrape(tool(superset), first.cursor)
    assert again.ids("chart") == first.ids("chart")
    assert again.cursor == first.cursor
    async with superset_api(superset.url, ANALYST, superset.content.analyst_password) as analyst:
        await analyst.run(1, "public", "SELECT reason FROM returns")
    later = await scrape(tool(superset), first.cursor)
    new = set(later.ids("query_log")) - set(first.ids("query_log"))
    assert [later.tables("query_log", run) for run in new] == [{f"{superset.database}.public.returns"}]


async def test_a_chart_that_is_deleted_is_told_no_more(superset: RealSuperset) -> None:
    extra = await superset.api.chart("Soon gone", 1, {"groupby": ["method"]}, dashboards=(superset.content.board,))
    assert str(extra) in (await scrape(tool(superset))).ids("chart")
    await superset.api.delete_chart(extra)
    done = await scrape(tool(superset))
    assert done.complete
    assert str(extra) not in done.ids("chart")
    assert f"{superset.content.board}:{extra}" not in done.ids("dashboard_chart")


async def test_all_pages_are_read(superset: RealSuperset) -> None:
    done = await scrape(tool(superset, page_size=2))
    assert done.complete
    assert set(done.ids("chart")) == {str(chart) for chart in superset.content.charts}


async def test_the_check_passes_and_names_what_an_analyst_lacks(superset: RealSuperset) -> None:
    assert [step for step in [step async for step in tool(superset).check()] if not step.ok] == []
    account = settings_of(superset.url, ANALYST, superset.content.analyst_password)
    lacking = {step.step: step.fix async for step in Superset(account, LOCAL).check() if not step.ok}
    assert "read SQL Lab runs" in lacking
    wrong = Superset(settings_of(superset.url, ADMIN, "not-the-password"), LOCAL)
    with pytest.raises(ToolError) as caught:
        await scrape(wrong)
    assert caught.value.cause == "wrong_password"
