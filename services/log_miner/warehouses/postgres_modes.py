"""Which of a Postgres server's sources is mined: its csvlog, or pg_stat_statements."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Literal

from libs.common.connectors import PostgresSettings
from libs.common.db import Connection
from services.log_miner.warehouses.interface import OpenWarehouse, Step, WarehouseError
from services.log_miner.warehouses.postgres_csvlog import open_csvlog
from services.log_miner.warehouses.postgres_errors import MISSING_RIGHT
from services.log_miner.warehouses.postgres_rights import log_settings, probe_log, usable_reader
from services.log_miner.warehouses.postgres_statements import OpenStatements, View, statement_steps


@dataclass(frozen=True, slots=True)
class Choice:
    """A source and what was found of it. `remarks` become warnings of the job."""

    mode: Literal["csvlog", "statements"]
    readable: bool
    steps: tuple[Step, ...]
    reader: str = ""
    view: View | None = None
    remarks: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.ok)

    @property
    def needs(self) -> str:
        """What is missing and what would repair it."""
        return " ".join(f"{step.detail} {step.fix}" for step in self.missing)


async def choose(connection: Connection, settings: PostgresSettings) -> Choice:
    """The source that `mode` names. `auto`: the log where nothing is amiss with it, else the counters likewise.

    Where neither is as it should be, the log stands, with what both are wanting.
    """
    if settings.mode == "statements":
        return await _counters(connection)
    log = await _log(connection, settings)
    if settings.mode == "csvlog" or not log.missing:
        return log
    counters = await _counters(connection)
    if not counters.missing:
        why = log.missing[0].detail
        remark = f"pg_stat_statements is read, not the csvlog: {why}"
        return replace(counters, steps=(*counters.steps, Step("choose source", True, remark)), remarks=(remark,))
    return log if log.readable else replace(log, steps=log.steps + counters.missing)


async def _log(connection: Connection, settings: PostgresSettings) -> Choice:
    found = await log_settings(connection)
    reader, rights = await usable_reader(connection, settings)
    return Choice("csvlog", all(step.ok for step in rights), (*found, *rights), reader=reader)


async def _counters(connection: Connection) -> Choice:
    view, steps = await statement_steps(connection)
    remarks = tuple(f"{step.detail} {step.fix}" for step in steps if not step.ok)
    return Choice("statements", view is not None, tuple(steps), view=view, remarks=remarks)


async def opened(choice: Choice, connection: Connection, settings: PostgresSettings) -> OpenWarehouse:
    """The chosen source, ready to be read. Raises WarehouseError with what is missing."""
    if not choice.readable:
        name = "log" if choice.mode == "csvlog" else "view pg_stat_statements"
        raise WarehouseError(MISSING_RIGHT, f"The {name} cannot be read. {choice.needs}")
    if choice.view:
        return OpenStatements(settings, connection, choice.view, choice.remarks)
    return await open_csvlog(connection, settings, choice.reader)


async def tried(connection: Connection, settings: PostgresSettings) -> AsyncIterator[Step]:
    """The steps of the choice, and a piece of the log where it is the choice."""
    choice = await choose(connection, settings)
    for step in choice.steps:
        yield step
    if choice.mode == "csvlog" and choice.readable:
        yield await probe_log(connection, settings, choice.reader)
