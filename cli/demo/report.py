"""What the demo shows: tables on the terminal, from the gateway's answers."""

from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]
_WIDTH_OF_PIPES = 120


def report_console() -> Console:
    """As wide as the terminal; wide enough for the tables where there is none."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_PIPES)


def _table(title: str, *headers: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", pad_edge=False)
    for header in headers:
        numeric = header in ("queries", "users", "score")
        table.add_column(header, justify="right" if numeric else "left", overflow="fold")
    return table


def _moment(text: str | None) -> str:
    return text[:19].replace("T", " ") if text else "never"


def show_products(console: Console, stats: list[Row]) -> None:
    table = _table(
        "Data products by popularity", "product", "queries", "users", "last queried (UTC)", "score", "top columns"
    )
    for row in stats:
        table.add_row(
            row["product_name"],
            str(row["query_count_30d"]),
            str(row["unique_users_30d"]),
            _moment(row["last_queried_at"]),
            f"{row['popularity_score']:.1f}",
            ", ".join(row["top_columns"][:4]),
        )
    console.print(table)


def show_popular(console: Console, patterns: list[Row]) -> None:
    table = _table("Popular queries, anonymised", "queries", "users", "statement")
    for row in patterns[:6]:
        table.add_row(str(row["query_count"]), str(row["user_count"]), row["sql_text"])
    console.print(table)


def show_unused(console: Console, products: list[Row], days: int) -> None:
    table = _table(f"Unused for {days} days", "product", "tables", "last queried (UTC)")
    for row in products:
        tables = ", ".join(table["name"] for table in row["tables"])
        table.add_row(row["name"], tables, _moment(row["last_queried_at"]))
    console.print(table)


def show_unmatched(console: Console, tables: list[Row]) -> None:
    table = _table("Tables that people query but no product claims", "table", "queries", "users", "reason")
    for row in tables:
        table.add_row(row["table"], str(row["query_count"]), str(row["user_count"]), row["reason"])
    console.print(table)
