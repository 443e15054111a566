"""From an item of a BI tool to a record: no literal gets through, names are complete, templates leave no trace."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.events import ConnectorRef
from libs.common.ids import bi_query_id
from libs.common.sql import DefaultNames, Dialect
from services.scraper.records import LONGEST_TITLE, Origin, bi_queries, bi_query, title_of
from services.scraper.tools.interface import Dashboard, Item

ORIGIN = Origin(
    UUID(int=1), "staging", ConnectorRef(id=UUID(int=2), type="superset", name="bi"), UUID(int=3), sync_seq=4
)
DEFAULTS = DefaultNames("shop", ("public",))


def item(sql: str | None = None, dialect: Dialect = Dialect.POSTGRES, **more: object) -> Item:
    return Item("chart", "7", dialect, DEFAULTS, sql=sql, **more)  # type: ignore[arg-type]


def displays(one: Item) -> set[str]:
    return {table.display for table in bi_query(one, ORIGIN, 1).tables}


def test_a_record_says_whose_it_is_and_which_of_the_job() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    dashboard = Dashboard("3", "Board", "https://bi/superset/dashboard/board/")
    told = Item("query_log", "9", Dialect.POSTGRES, DEFAULTS, executed_by=" ada ", executed_at=moment)
    record = bi_query(told, ORIGIN, 12)
    assert record.id == bi_query_id(ORIGIN.tenant, UUID(int=2), "query_log", "9")
    assert (record.environment, record.job_id, record.sync_seq, record.job_seq) == ("staging", UUID(int=3), 4, 12)
    assert (record.executed_by, record.executed_at, record.execution_count) == ("ada", moment, 1)
    shown = bi_query(item(dashboard=dashboard), ORIGIN, 1)
    assert (shown.dashboard_id, shown.dashboard_title) == ("3", "Board")


def test_records_are_numbered_from_the_first_number_on() -> None:
    assert [record.job_seq for record in bi_queries([item("SELECT 1"), item("SELECT 1"), item()], ORIGIN, 5)] == [
        5,
        6,
        7,
    ]


def test_the_tables_of_the_sql_win_over_those_that_the_tool_lists() -> None:
    assert displays(item("SELECT a FROM orders", tables=(("x", "y"),))) == {"shop.public.orders"}
    assert displays(item("SELECT 1", tables=(("sales", "orders"), ("Orders",)))) == {
        "shop.sales.orders",
        'shop.public."Orders"',
    }
    assert displays(item(tables=(("orders",),), dialect=Dialect.SNOWFLAKE)) == {"shop.public.ORDERS"}


def test_other_forms_of_a_statement_count_with_their_tables_only() -> None:
    record = bi_query(item("SELECT a FROM t", also=("SELECT b FROM u",)), ORIGIN, 1)
    assert {table.display for table in record.tables} == {"shop.public.t", "shop.public.u"}
    assert record.sql_text == "SELECT a FROM t"


def test_templates_leave_placeholders_in_the_text_and_nothing_in_the_names() -> None:
    record = bi_query(item("SELECT a FROM {{ s }}.orders, {{ t }} WHERE b = '{{ c }}' AND d = {{ e }}"), ORIGIN, 1)
    assert record.sql_text is not None
    assert "template" not in record.model_dump_json()
    assert ("orders",) in {table.name for table in record.tables}


def test_sql_that_only_stands_for_names_is_not_shown() -> None:
    record = bi_query(item("SELECT a FROM t", shown=False), ORIGIN, 1)
    assert record.sql_text is None
    assert [(use.table, use.column) for use in record.columns] == [(("shop", "public", "t"), "a")]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        (None, None),
        ("  ", None),
        ("Sales\n\tby  day", "Sales by day"),
        ("Select your region", "Select your region"),
        ("Updates from where we set off", "Updates from where we set off"),
        ("SELECT * FROM users WHERE mail = 'bob@x'", "SELECT * FROM users WHERE mail = ?"),
        ("where id = 'k-77'", "where id = ?"),
        ("x" * 10_000_000, "x" * LONGEST_TITLE),
    ],
)
def test_titles_are_one_short_line_without_literals(title: str | None, expected: str | None) -> None:
    assert title_of(title, Dialect.POSTGRES) == expected


@given(st.text(max_size=60), st.sampled_from(list(Dialect)))
def test_any_text_in_any_field_becomes_a_record(text: str, dialect: Dialect) -> None:
    odd = Item("chart", "1", dialect, DEFAULTS, title=text, sql=text, also=(text,), executed_by=text, tables=((text,),))
    assert bi_query(odd, ORIGIN, 1).model_dump_json()


@given(st.from_regex(r"[a-z0-9]{12}", fullmatch=True))
def test_a_literal_does_not_get_through(secret: str) -> None:
    values = f"b = '{secret}' AND c IN ('{secret}', {{{{ x('{secret}') }}}})"
    sql = f"{{# {secret} #}} SELECT a FROM t WHERE {values} -- {secret}"
    record = bi_query(item(sql, title=f"select a from t where b = '{secret}'"), ORIGIN, 1)
    assert secret not in record.model_dump_json()
