"""Tables, columns and conditions of an invented warehouse, drawn at random."""

import random
from dataclasses import dataclass
from typing import Final

from bench.query_log.flavours import FLAVOURS
from libs.common.sql import Dialect


def _words(text: str) -> list[str]:
    return text.split()


_NOUNS: Final = _words(
    "orders customers payments sessions events products invoices shipments refunds tickets campaigns leads accounts "
    "subscriptions users devices clicks impressions carts reviews stores employees suppliers inventory contracts "
    "visits transactions messages quotas budgets"
)
_LAYERS: Final = ("", "", "stg_", "dim_", "fct_", "raw_", "mart_")
_SCHEMAS: Final = ("sales", "marketing", "finance", "core", "web", "ops", "reporting")
COLUMNS: Final = {
    "c": _words(
        "status country currency channel segment plan_name device_type region_code source_medium category "
        "email_domain payment_method carrier language referrer_host sku_group owner_team priority stage city"
    ),
    "n": _words(
        "amount total_price quantity discount_rate net_revenue tax_amount shipping_cost duration_seconds page_views "
        "unit_cost balance score margin_pct retry_count items_sold mrr_usd"
    ),
    "d": _words("created_at updated_at ordered_on paid_at shipped_at event_time started_at closed_date"),
    "i": _words("id customer_id order_id account_id session_id product_id store_id user_id campaign_id"),
    "j": ["payload", "properties", "raw_json", "tags"],
}


@dataclass(frozen=True, slots=True)
class Table:
    """How a table is written in a statement, and under which alias."""

    path: str
    alias: str


class Pieces:
    """The parts that statements of one dialect are put together from."""

    def __init__(self, draw: random.Random, dialect: Dialect) -> None:
        self.draw, self.dialect, self.flavour = draw, dialect, FLAVOURS[dialect]
        self._names = [(draw.choice(_SCHEMAS), draw.choice(_LAYERS) + noun) for noun in _NOUNS for _ in range(2)]

    def chance(self, share: float) -> bool:
        return self.draw.random() < share

    def table(self, position: int = 0) -> Table:
        schema, name = self.draw.choice(self._names)
        path = self.draw.choice(self.flavour.paths).format(s=schema, t=name)
        short = name.split("_")[-1]
        return Table(path, self.draw.choice([f"{short[:2]}{position}", f"t{position}", f"{short}_{position}"]))

    def tables(self, most: int = 5) -> list[Table]:
        count = self.draw.choices(range(1, 6), (44, 31, 15, 7, 3))[0]
        return [self.table(position) for position in range(min(count, most))]

    def column(self, tables: list[Table], kind: str) -> str:
        """A column of one of the tables: c text, n number, d date, i id, j JSON."""
        table, name = self.draw.choice(tables), self.draw.choice(COLUMNS[kind])
        if self.chance(0.06):
            name = f"{self.flavour.quote}{name}{self.flavour.quote}"
        return f"{table.alias}.{name}" if len(tables) > 1 or self.chance(0.5) else name

    def filled(self, form: str, tables: list[Table]) -> str:
        for kind in COLUMNS:
            while f"{{{kind}}}" in form:
                form = form.replace(f"{{{kind}}}", self.column(tables, kind), 1)
        return form

    def condition(self, tables: list[Table]) -> str:
        return self.filled(self.draw.choice(self.flavour.conditions), tables)

    def where(self, tables: list[Table], least: int = 1, most: int = 3) -> str:
        found = [self.condition(tables) for _ in range(self.draw.randint(least, most))]
        if self.chance(0.4):
            found.append(self.filled(self.flavour.recent, tables))
        if self.chance(0.1):
            inner = self.table(8)
            found.append(f"{self.column(tables, 'i')} IN ({self._ids_of(inner)})")
        if self.chance(0.07):
            inner, outer, key = self.table(9), self.draw.choice(tables), self.draw.choice(COLUMNS["i"])
            found.append(f"EXISTS (SELECT 1 FROM {self.named(inner)} WHERE {self.on(inner, outer, key)})")
        return "WHERE " + "\n  AND ".join(found)

    def _ids_of(self, table: Table) -> str:
        return f"SELECT {self.column([table], 'i')} FROM {self.named(table)} WHERE {self.condition([table])}"

    @staticmethod
    def named(table: Table) -> str:
        return f"{table.path} AS {table.alias}"

    @staticmethod
    def on(one: Table, other: Table, key: str) -> str:
        return f"{one.alias}.{key} = {other.alias}.{key}"

    def sources(self, tables: list[Table]) -> str:
        """FROM with its joins."""
        first, *others = tables
        text = f"FROM {self.named(first)}"
        if not others and self.flavour.sources and self.chance(0.15):
            text += self.filled(self.draw.choice(self.flavour.sources), [first])
        for other in others:
            partner = self.draw.choice([first, first, *others[:1]])
            kind = self.draw.choice(["JOIN", "LEFT JOIN", "INNER JOIN", "LEFT JOIN"])
            partner = first if partner is other else partner
            text += f"\n{kind} {self.named(other)} ON {self.on(other, partner, self.draw.choice(COLUMNS['i']))}"
            if self.chance(0.2):
                text += f" AND {self.condition([other, partner])}"
        return text
