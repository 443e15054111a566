"""What the people of the demo ask their warehouse: statements with fresh literals for each run of each statement."""

import random
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Habit:
    """A statement that some users run `times` each; `{n}` and `{country}` are drawn anew every time."""

    users: tuple[str, ...]
    times: int
    sql: str


@dataclass(frozen=True, slots=True)
class Statement:
    user: str
    sql: str


ANALYSTS = ("ada", "ben", "chloe", "dan")
USERS = (*ANALYSTS, "metabase")

HABITS = (
    Habit(ANALYSTS, 25, "SELECT status, count(*), sum(total) FROM orders WHERE total > {n} GROUP BY status"),
    Habit(("ada", "ben"), 20, "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer_id"
          " WHERE c.country = '{country}' AND o.total > {n} LIMIT 20"),
    Habit(("ada", "chloe"), 15, "WITH big AS (SELECT customer_id, sum(total) AS spent FROM public.orders GROUP BY 1)"
          " SELECT c.email, b.spent FROM big b JOIN customers c ON c.id = b.customer_id WHERE b.spent > {n} LIMIT 5"),
    Habit(("ben",), 30, "SELECT i.sku, sum(i.quantity) FROM order_items i WHERE i.sku IN ('sku-{n}', 'sku-7', 'sku-9')"
          " GROUP BY i.sku"),
    Habit(("chloe", "dan"), 12, "SELECT k.name, count(*) FROM marketing.campaigns k JOIN marketing.clicks x"
          " ON x.campaign_id = k.id WHERE k.budget > {n} GROUP BY k.name"),
    Habit(("dan",), 18, "SELECT method, sum(amount) FROM finance.payments WHERE amount > {n} GROUP BY method"),
    Habit(("dan",), 6, """SELECT "Gross" - "Net" FROM finance."Monthly Revenue" WHERE month > date '2026-01-{n}'"""),
    Habit(("ada",), 9, "SELECT stock FROM inventory WHERE sku = 'sku-{n}'"),
    Habit(("ben",), 7, "SELECT rate FROM exchange_rates WHERE currency = 'USD' AND day = date '2026-01-{n}'"),
    Habit(("metabase",), 40, "-- Metabase:: userID: 1 queryType: native queryHash: 5f\n"
          "SELECT country, count(*) FROM customers WHERE id > {n} GROUP BY country"),
)  # fmt: skip
PARAMETRISED = "SELECT name, email FROM customers WHERE id = $1"
PARAMETRISED_TIMES = 25


def statements(seed: int = 7) -> Iterator[Statement]:
    """All statements of all users, shuffled; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - literals of a demo, not keys
    everything = [Statement(user, habit.sql) for habit in HABITS for user in habit.users for _ in range(habit.times)]
    draw.shuffle(everything)
    for statement in everything:
        values = {"n": draw.randint(10, 28), "country": draw.choice(("DE", "FR", "IT"))}
        yield Statement(statement.user, statement.sql.format(**values))
