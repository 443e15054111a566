"""Every table that holds something of a tenant is on its service's list of what a deletion removes."""

import importlib
from importlib.util import find_spec

import asyncpg
import pytest

from libs.common.erasure import DDL as ERASED_NAME
from libs.common.services import SERVICES
from libs.common.tenants import DDL as TENANT
from services.gateway.store.tenants import TENANT_TABLES as OF_GATEWAY
from tests.house.tree import ROOT
from tests.support.platform import Platform

# What is deleted by itself: the marker that stays, and rows of nobody.
KEPT = {"tenant"}


def listed(service: str) -> tuple[str, ...]:
    """The tables of a service's list; none where it has no list."""
    if service == "gateway":
        return OF_GATEWAY
    if find_spec(f"services.{service}.tenant_tables") is None:
        return ()
    tables: tuple[str, ...] = importlib.import_module(f"services.{service}.tenant_tables").TENANT_TABLES
    return tables


async def tables_with_tenants(platform: Platform, service: str) -> set[str]:
    connection = await asyncpg.connect(platform.admin_url)
    try:
        rows = await connection.fetch(
            """SELECT c.relname FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
               WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND NOT c.relispartition""",
            service,
        )
    finally:
        await connection.close()
    return {row["relname"] for row in rows}


async def references(platform: Platform, service: str) -> set[tuple[str, str]]:
    """Who refers to whom without taking its rows along."""
    connection = await asyncpg.connect(platform.admin_url)
    try:
        rows = await connection.fetch(
            """SELECT child.relname AS child, parent.relname AS parent FROM pg_catalog.pg_constraint k
               JOIN pg_catalog.pg_class child ON child.oid = k.conrelid
               JOIN pg_catalog.pg_class parent ON parent.oid = k.confrelid
               JOIN pg_catalog.pg_namespace n ON n.oid = child.relnamespace
               WHERE k.contype = 'f' AND n.nspname = $1""",
            service,
        )
    finally:
        await connection.close()
    return {(row["child"], row["parent"]) for row in rows}


@pytest.mark.parametrize("service", SERVICES)
async def test_the_list_of_a_service_is_complete(platform: Platform, service: str) -> None:
    assert await tables_with_tenants(platform, service) - KEPT == set(listed(service))
    assert len(set(listed(service))) == len(listed(service))


@pytest.mark.parametrize("service", SERVICES)
async def test_whoever_refers_to_another_stands_before_it(platform: Platform, service: str) -> None:
    order = {table: place for place, table in enumerate(listed(service))}
    known = {(child, parent) for child, parent in await references(platform, service) if parent not in KEPT}
    assert all(order[child] < order[parent] for child, parent in known), known


def words(text: str) -> str:
    return " ".join(text.split())


def test_every_copy_is_made_by_the_one_definition() -> None:
    for service in SERVICES:
        migrations = words(" ".join(p.read_text() for p in sorted((ROOT / "services" / service).glob("migrations/*"))))
        if service != "gateway" and listed(service):
            assert words(TENANT) in migrations, service
        if "erased_name" in listed(service):
            assert words(ERASED_NAME) in migrations, service
