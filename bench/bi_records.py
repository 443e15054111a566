"""Records as a collecting service sends them: statements anonymised, tables and columns found, ids of a job."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final
from uuid import UUID, uuid4

from libs.common.events import BiQueryScraped, ColumnUse, ConnectorRef, SyncCompleted, TableRef
from libs.common.ids import bi_query_id

PATTERNS: Final = 1400
USERS: Final = 5000
TABLES: Final = 300
_ZIPF: Final = 1.05
_WINDOW: Final = timedelta(days=28)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a producer says of one statement."""

    text: str
    tables: tuple[TableRef, ...]
    columns: tuple[ColumnUse, ...]


def table_name(number: int) -> str:
    return f"sales.mart.fact_{number}"


def _statement(number: int, chance: random.Random) -> Statement:
    tables = [tuple(table_name(chance.randrange(TABLES)).split(".")) for _ in range(chance.choice((1, 1, 2, 3)))]
    tables = list(dict.fromkeys(tables))
    columns = [(table, f"column_{chance.randrange(40)}") for table in tables for _ in range(2)]
    shown = ", ".join(f"{table[-1]}.{column}" for table, column in columns)
    joins = " JOIN ".join(".".join(table) for table in tables)
    filters = " AND ".join(f"{table[-1]}.{column} >= ?" for table, column in columns * chance.randrange(1, 3))
    return Statement(
        f"SELECT {shown}, count(*) AS n_{number} FROM {joins} WHERE {filters} GROUP BY {shown} ORDER BY n_{number}",
        tuple(TableRef(name=table, display=".".join(table)) for table in tables),
        tuple(ColumnUse(table=table, column=column) for table, column in columns),
    )


@dataclass(frozen=True, slots=True)
class MinedLog:
    """A log of one connector, mined by one job: Zipf over its patterns and users, the newest row last.

    Logs of all seeds have the same statements, and rows of their own.
    """

    tenant: UUID
    until: datetime
    rows: int
    seed: int
    connector: ConnectorRef
    job: UUID = field(default_factory=uuid4)

    def records(self) -> Iterator[BiQueryScraped]:
        """In the order of the log."""
        chance = random.Random(0)  # noqa: S311
        statements = [_statement(number, chance) for number in range(PATTERNS)]
        chance.seed(self.seed)
        weights = list(accumulate(1 / (rank + 1) ** _ZIPF for rank in range(PATTERNS)))
        people = list(accumulate(1 / (rank + 10) for rank in range(USERS)))
        chosen = chance.choices(statements, cum_weights=weights, k=self.rows)
        users = chance.choices(range(USERS), cum_weights=people, k=self.rows)
        for number, (statement, user) in enumerate(zip(chosen, users, strict=True), 1):
            resource_id = f"{self.seed:08x}{number:012x}"
            yield BiQueryScraped(
                tenant=self.tenant,
                id=bi_query_id(self.tenant, self.connector.id, "query_log", resource_id),
                connector=self.connector,
                dialect="postgres",
                job_id=self.job,
                sync_seq=1,
                job_seq=number,
                resource_type="query_log",
                resource_id=resource_id,
                sql_text=statement.text,
                executed_by=f"analyst_{user}@example.com",
                executed_at=self.until - _WINDOW * (1 - number / self.rows),
                tables=statement.tables,
                columns=statement.columns,
            )

    def closing(self) -> SyncCompleted:
        return SyncCompleted(
            tenant=self.tenant,
            connector=self.connector,
            job_id=self.job,
            sync_seq=1,
            count=self.rows,
            complete=True,
        )
