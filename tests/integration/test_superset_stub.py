"""Superset as a tool, against a stub that enforces what the real one enforces."""

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from libs.common.egress import EgressPolicy
from services.scraper.tools import ToolError
from services.scraper.tools.superset import Superset
from tests.stubs.superset.content import LITERAL, chart, run, small
from tests.stubs.superset.server import PASSWORD, USERNAME, Answer, SupersetStub, reply, running
from tests.support.superset import LOCAL, QUICK, Scrape, scrape, superset


def tool(stub: SupersetStub, **settings: object) -> Superset:
    return Superset(superset(stub.url, USERNAME, PASSWORD, **settings), LOCAL, QUICK, most_pages=20)


async def scraped(stub: SupersetStub, **settings: object) -> Scrape:
    async with running(stub):
        return await scrape(tool(stub, **settings))


async def test_charts_dashboards_queries_and_runs_become_records() -> None:
    done = await scraped(SupersetStub())
    assert done.complete
    assert done.ids("chart") == ["1", "2", "3"]
    assert done.ids("dashboard_chart") == ["1:1", "2:1", "1:3", "2:3"]
    assert done.ids("saved_query") == ["1"]
    assert done.ids("query_log") == ["1", "4", "5"]
    assert [record.job_seq for record in done.records] == list(range(1, len(done.records) + 1))
    assert LITERAL not in "".join(record.model_dump_json() for record in done.records)


async def test_names_are_completed_by_the_database_and_the_schema_of_the_tab() -> None:
    done = await scraped(SupersetStub())
    assert done.tables("chart", "1") == {"shop.public.orders"}
    assert done.tables("query_log", "1") == {"shop.public.customers"}
    assert done.tables("saved_query", "1") == {"shop.finance.payments"}


async def test_without_sql_tables_and_columns_come_from_the_settings_of_the_chart_and_nested_datasets() -> None:
    async def no_sql(request: web.Request, answer: Answer) -> web.StreamResponse:
        return reply({"message": "no"}, 400) if request.path.endswith("/data") else await answer(request)

    done = await scraped(SupersetStub(fault=no_sql))
    assert done.complete
    assert done.tables("chart", "3") == {"shop.public.orders"}
    assert done.tables("chart", "1") == {"shop.public.orders", "shop.finance.payments"}
    assert done.tables("chart", "2") == {"shop.public.orders", "shop.finance.payments"}
    assert done.record("chart", "3").sql_text is None
    assert {use.column for use in done.record("chart", "3").columns} == {"status"}


async def test_a_template_counts_as_what_it_became_and_earlier_statements_count_too() -> None:
    done = await scraped(SupersetStub())
    assert done.tables("query_log", "4") == {"shop.public.inventory"}
    assert done.tables("query_log", "5") == {"shop.public.a"}
    assert [record.executed_by for record in done.records if record.resource_type == "query_log"] == [
        "ada",
        "bob",
        "ada",
    ]


@pytest.mark.parametrize("cap", [7, 100])
async def test_pages_are_read_to_the_count_whatever_size_they_have(cap: int) -> None:
    done = await scraped(SupersetStub(small(charts=130), cap=cap))
    assert done.complete
    assert sorted(map(int, done.ids("chart"))) == list(range(1, 131))


async def test_a_chart_that_slips_between_pages_is_found_by_a_second_reading() -> None:
    stub = SupersetStub(small(charts=110))

    async def rename(request: web.Request, answer: Answer) -> web.StreamResponse:
        answered = await answer(request)
        if request.path == "/api/v1/chart/":  # the last one moves to the front while the first page is being read
            stub.content.chart[104]["slice_name"] = "a" * 3
            stub.content.chart[0]["slice_name"] = "z"
        return answered

    stub.fault = rename
    done = await scraped(stub)
    assert done.complete
    assert len(done.ids("chart")) == len(set(done.ids("chart"))) == 110


async def test_expired_tokens_are_refreshed_and_where_that_fails_there_is_a_login() -> None:
    refreshing = SupersetStub(token_uses=4)
    assert (await scraped(refreshing)).complete
    assert (refreshing.logins, refreshing.refreshes > 2) == (1, True)
    logging_in = SupersetStub(token_uses=4, refreshable=False)
    assert (await scraped(logging_in)).complete
    assert logging_in.logins > 2


async def test_tokens_that_never_count_end_in_one_error_and_not_in_a_storm_of_logins() -> None:
    stub = SupersetStub(token_uses=0)
    with pytest.raises(ToolError) as caught:
        await scraped(stub)
    assert caught.value.cause == "login_refused"
    assert stub.logins <= 3


async def test_a_wrong_password_is_named_and_not_repeated() -> None:
    stub = SupersetStub()
    settings = superset(stub.url, USERNAME, "another-secret")
    async with running(stub):
        with pytest.raises(ToolError) as caught:
            await scrape(Superset(settings, LOCAL, QUICK))
    assert (caught.value.cause, stub.logins) == ("wrong_password", 1)
    assert "another-secret" not in str(caught.value)


async def test_retry_after_is_waited_for_and_a_long_one_ends_the_scrape_as_incomplete() -> None:
    waits = dict.fromkeys(["0.05", "3600"], 0)

    def throttle(seconds: str) -> SupersetStub:
        async def fault(request: web.Request, answer: Answer) -> web.StreamResponse:
            if request.path == "/api/v1/chart/" and "page:1," in request.query["q"] and waits[seconds] < 2:
                waits[seconds] += 1
                return reply({"errors": []}, 429, {"Retry-After": seconds})
            return await answer(request)

        return SupersetStub(small(charts=150), fault=fault)

    started = asyncio.get_running_loop().time()
    assert (await scraped(throttle("0.05"))).complete
    assert asyncio.get_running_loop().time() - started >= 0.1
    stopped = await scraped(throttle("3600"))
    assert not stopped.complete
    assert waits == {"0.05": 2, "3600": 1}
    assert len(stopped.ids("chart")) == 100
    assert any("429" in warning for warning in stopped.warnings)


async def test_a_list_that_may_not_be_read_makes_the_scrape_incomplete() -> None:
    done = await scraped(SupersetStub(denied=frozenset({"saved_query"})))
    assert not done.complete
    assert done.ids("chart") == ["1", "2", "3"]
    bearable = await scraped(SupersetStub(denied=frozenset({"security/users", "database/1/connection"})))
    assert bearable.complete
    assert bearable.record("query_log", "1").executed_by == "superset:2"
    assert bearable.tables("chart", "1") == {"shop.public.orders"}


async def test_the_next_scrape_reads_runs_from_where_this_one_ended_and_those_that_had_not_finished() -> None:
    stub = SupersetStub()
    stub.content.query.append(run(6, 2, "SELECT 6 FROM t", "running"))
    stub.content.query.append(run(7, 2, "SELECT 7 FROM t"))
    minutes = 60 * 1000 / 1000.5
    async with running(stub):
        first = await scrape(tool(stub))
        stub.content.query[5]["status"] = "success"
        stub.content.query.append(run(round(300 * minutes), 2, "SELECT 8 FROM t"))
        second = await scrape(tool(stub), first.cursor)
        third = await scrape(tool(stub), second.cursor)
    assert "6" not in first.ids("query_log")
    assert {"6", "7", str(round(300 * minutes))} <= set(second.ids("query_log"))
    assert third.ids("query_log") == [str(round(300 * minutes))]
    assert third.ids("chart") == first.ids("chart")


async def test_runs_of_excluded_users_are_left_out_and_sql_lab_can_be() -> None:
    assert (await scraped(SupersetStub(), exclude_users=("ada",))).ids("query_log") == ["4"]
    stub = SupersetStub()
    assert (await scraped(stub, include_sql_lab=False)).ids("query_log") == []
    assert "GET /api/v1/query/" not in stub.requests


async def test_a_chart_that_fails_is_still_seen_and_after_three_superset_is_left_alone() -> None:
    async def broken(request: web.Request, answer: Answer) -> web.StreamResponse:
        return web.Response(status=503) if request.path.endswith("/data") else await answer(request)

    stub = SupersetStub(small(charts=60), fault=broken)
    done = await scraped(stub)
    assert done.complete
    assert len(done.ids("chart")) == 60
    assert sum("/data" in request for request in stub.requests) < 40
    assert any("no more SQL" in warning for warning in done.warnings)


async def test_hosts_inside_are_refused_before_anything_is_sent() -> None:
    stub = SupersetStub()
    nothing = EgressPolicy.of(()).address_of
    async with running(stub):
        with pytest.raises(ToolError) as caught:
            await scrape(replace(tool(stub), resolve=nothing))
    assert (caught.value.cause, stub.requests) == ("host_refused", [])


async def test_the_check_names_each_step_and_the_first_that_fails() -> None:
    stub = SupersetStub(denied=frozenset({"query"}))
    async with running(stub):
        steps = [step async for step in tool(stub).check()]
        refused = [step async for step in Superset(superset(stub.url, "x", "y"), LOCAL, QUICK).check()]
    assert [step.step for step in steps if not step.ok] == ["read SQL Lab runs"]
    assert [(step.step, step.ok) for step in refused][-1] == ("log in", False)
    gone = [step async for step in tool(stub).check()]
    assert [(step.step, step.ok) for step in gone] == [("resolve host", True), ("connect", False)]


async def test_a_chart_on_many_dashboards_is_told_once_for_each() -> None:
    content = small(charts=0)
    content.chart.append(chart(9, 1, (1, 2, 2, 7)))
    done = await scraped(SupersetStub(content))
    assert done.ids("dashboard_chart") == ["1:9", "2:9", "7:9"]
    urls = [record.dashboard_url or "" for record in done.records if record.resource_type == "dashboard_chart"]
    assert [url.split("/", 3)[3] for url in urls] == [f"superset/dashboard/{end}/" for end in ("board", "2", "7")]
