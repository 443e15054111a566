"""A person is erased: the name stands nowhere any more, and no figure changes."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from libs.common.erasure import ErasedNames, Erasing
from libs.common.events import UserErased
from libs.common.sealed import CannotOpen, KeyRing, encode
from services.aggregator.erasing import Rewriting
from services.aggregator.store.queries import Filter
from tests.integration.aggregator_harness import Harness, Source, replicas
from tests.support.messaging import until
from tests.support.platform import SEALING_KEY, Platform

CANARY = "canary.person+«O'Neil»@example.org"
RING = KeyRing.of({"k1": SecretStr(SEALING_KEY)})


@pytest.fixture(scope="module")
async def aggregator(platform: Platform) -> AsyncIterator[Harness]:
    async with replicas(platform) as (one,):
        yield one


def erased(tenant: UUID, name: str, pseudonym: str = "erased:0123abcd", ring: KeyRing = RING) -> UserErased:
    return UserErased(tenant=tenant, sealed_name=ErasedNames(ring).sealed(tenant, name), pseudonym=pseudonym)


def erasing(harness: Harness, ring: KeyRing = RING, **options: float) -> Erasing:
    rewriting = Rewriting(harness.database, int(options.get("page_rows", 3)), options.get("slice_seconds", 60.0))
    return Erasing(harness.database, harness.clock, ErasedNames(ring), rewriting)


async def holding(harness: Harness, text: str) -> list[str]:
    """Tables of all schemas in which a text stands, however it is written there."""
    tables = await harness.admin.fetch(
        """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
           WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"""
    )
    found = []
    for table in tables:
        query = f"SELECT EXISTS (SELECT FROM {table['name']} AS t WHERE strpos(t::text, $1) > 0)"
        if await harness.admin.fetchval(query, text):
            found.append(table["name"])
    return found


async def filled(harness: Harness, *people: str | None) -> tuple[Source, UUID]:
    source = Source()
    await harness.space(source.tenant)
    product = await harness.product(source.tenant, "Orders", "public.orders")
    records = [source.record(f"q{n}", n, executed_by=who) for n, who in enumerate(people, 1)]
    await harness.take(*records, source.chart("c", executed_by=CANARY))
    return source, product


async def names(harness: Harness, source: Source) -> list[str | None]:
    found = await harness.usage.queries(source.tenant, source.connector, Filter(), None, 500)
    return sorted((each.executed_by for each in found if each.executed_at), key=str)


async def test_the_name_is_gone_and_figures_stay(aggregator: Harness) -> None:
    people = [CANARY, "bob", None, CANARY, "eve", CANARY.upper(), *(f"u{n}" for n in range(20)), CANARY]
    source, product = await filled(aggregator, *people)
    other, _ = await filled(aggregator, "bob", None)
    before = (await aggregator.stats(source.tenant))[product]
    popular = await aggregator.usage.popular(source.tenant, "shop", 30, aggregator.clock(), None, 50)
    assert sorted(await holding(aggregator, CANARY)) == ["aggregator.bi_reference", "aggregator.query_log"]

    work = erasing(aggregator)
    await work.follow(erased(source.tenant, CANARY))
    assert await work.rewrite_pending() == 1
    assert (await aggregator.stats(source.tenant))[product] == before
    assert await aggregator.usage.popular(source.tenant, "shop", 30, aggregator.clock(), None, 50) == popular
    assert (await names(aggregator, source)).count("erased:0123abcd") == 3
    assert CANARY.upper() in await names(aggregator, source)
    kept = await aggregator.usage.queries(other.tenant, other.connector, Filter(user=CANARY), None, 50)
    assert [each.resource_type for each in kept] == ["chart"], "another tenant's person is another person"

    await work.follow(erased(other.tenant, CANARY, "erased:ffffffff"))
    await work.rewrite_pending()
    tables = await holding(aggregator, CANARY)
    print(f"ERASURE rows=4 tables_with_name={len(tables)} users={before.unique_users_30d}")
    assert tables == []


async def test_later_records_of_the_person_come_under_the_pseudonym(aggregator: Harness) -> None:
    source, product = await filled(aggregator, CANARY, "bob")
    work = erasing(aggregator)
    await work.follow(erased(source.tenant, CANARY))
    # Before the rewriting, as well as after it.
    await aggregator.take(source.record("q7", 7, executed_by=CANARY), source.chart("c7", executed_by=CANARY))
    await work.rewrite_pending()
    await aggregator.take(source.record("q1", 1, executed_by=CANARY), source.record("q8", 8, executed_by=CANARY))
    assert await holding(aggregator, CANARY) == []
    assert await names(aggregator, source) == ["bob", *["erased:0123abcd"] * 3]
    assert (await aggregator.stats(source.tenant))[product].unique_users_30d == 2


async def test_an_interrupted_rewriting_goes_on(aggregator: Harness) -> None:
    source, _ = await filled(aggregator, *[CANARY] * 20)
    hasty = erasing(aggregator, slice_seconds=-1.0)
    await hasty.follow(erased(source.tenant, CANARY))
    assert await hasty.rewrite_pending() == 0
    assert (await names(aggregator, source)).count(CANARY) == 17, "a page of three"
    rounds = 1
    while not await hasty.rewrite_pending():
        rounds += 1
    assert rounds > 5
    assert await holding(aggregator, CANARY) == []


async def test_a_killed_rewriting_is_taken_over(aggregator: Harness) -> None:
    source, _ = await filled(aggregator, *[CANARY] * 20)
    hasty = erasing(aggregator, slice_seconds=-1.0)
    await hasty.follow(erased(source.tenant, CANARY))
    await hasty.rewrite_pending()
    assert await erasing(aggregator).rewrite_pending() == 1
    assert await holding(aggregator, CANARY) == []


async def test_erasing_twice_keeps_the_first_pseudonym(aggregator: Harness) -> None:
    source, _ = await filled(aggregator, CANARY)
    work = erasing(aggregator)
    for pseudonym in ("erased:0123abcd", "erased:deadbeef"):
        await work.follow(erased(source.tenant, CANARY, pseudonym))
        await work.rewrite_pending()
    assert await names(aggregator, source) == ["erased:0123abcd"]


async def test_two_persons_never_become_one(aggregator: Harness) -> None:
    source, product = await filled(aggregator, CANARY, "bob")
    work = erasing(aggregator)
    await work.follow(erased(source.tenant, CANARY))
    await work.follow(erased(source.tenant, "bob"))
    await work.rewrite_pending()
    assert len(set(await names(aggregator, source))) == 2
    assert (await aggregator.stats(source.tenant))[product].unique_users_30d == 2


async def test_a_new_sealing_key_knows_the_old_erasures(aggregator: Harness) -> None:
    source, _ = await filled(aggregator, CANARY)
    work = erasing(aggregator)
    await work.follow(erased(source.tenant, CANARY))
    rotated = KeyRing.of({"k2": SecretStr(encode(b"\7" * 32)), "k1": SecretStr(SEALING_KEY)})
    async with aggregator.database.work() as connection:
        found = await ErasedNames(rotated).pseudonyms(connection, [(source.tenant, CANARY), (source.tenant, "x")])
    assert found == {(source.tenant, CANARY): "erased:0123abcd"}
    stranger = KeyRing.of({"k2": SecretStr(encode(b"\7" * 32))})
    with pytest.raises(CannotOpen):
        await erasing(aggregator, stranger).follow(erased(source.tenant, "bob"))
    async with aggregator.database.work() as connection:
        assert await ErasedNames(stranger).pseudonyms(connection, [(source.tenant, CANARY)]) == {}
    await work.rewrite_pending()


async def test_a_dump_without_the_key_does_not_tell_who_it_was(aggregator: Harness) -> None:
    """Digest and pseudonym cannot be found by hashing names: each plain hash of the name is another one."""
    tenant = uuid4()
    names = ErasedNames(RING)
    async with aggregator.database.work() as connection:
        pseudonym = await names.enter(connection, tenant, CANARY, aggregator.clock())
        assert await names.enter(connection, tenant, CANARY, aggregator.clock()) == pseudonym
        other = await names.enter(connection, uuid4(), CANARY, aggregator.clock())
    assert pseudonym != other, "the same person of two tenants cannot be linked"
    guesses = (CANARY, f"{tenant}{CANARY}", f"{CANARY}{tenant}", f"erasure:{tenant}{CANARY}")
    for guess in guesses:
        for name in ("sha256", "sha1", "md5", "blake2b"):
            digest = hashlib.new(name, guess.encode(), usedforsecurity=False).hexdigest()
            assert not digest.startswith(pseudonym.removeprefix("erased:"))


async def test_an_erasure_waits_for_whoever_has_asked_before(aggregator: Harness) -> None:
    """Else a row could be written under the name behind the rewriting's back."""
    source, _ = await filled(aggregator)
    async with aggregator.database.work() as connection:
        assert await ErasedNames(RING).pseudonyms(connection, [(source.tenant, CANARY)]) == {}
        noting = asyncio.create_task(erasing(aggregator).follow(erased(source.tenant, CANARY)))
        done, _ = await asyncio.wait({noting}, timeout=0.3)
        assert not done
    await noting
    await erasing(aggregator).rewrite_pending()


async def test_ingests_at_the_same_time_write_no_name(platform: Platform) -> None:
    """Each row is written under the pseudonym, or is there when the rewriting looks."""
    async with replicas(platform, 3) as (one, two, third):
        source, _ = await filled(one, CANARY)
        done = asyncio.Event()
        batches = [0, 0]

        async def ingest(harness: Harness, number: int) -> None:
            while not done.is_set():
                first = batches[number] * 20
                records = [source.record(f"{number}-{first + n}", executed_by=CANARY) for n in range(20)]
                await harness.take(*records, said_at=harness.clock() + timedelta(seconds=first))
                batches[number] += 1

        running = [asyncio.create_task(ingest(harness, number)) for number, harness in enumerate((one, two))]
        await until(lambda: min(batches) > 0)
        work = erasing(third, page_rows=50)
        await work.follow(erased(source.tenant, CANARY))
        await work.rewrite_pending()
        before = list(batches)
        await until(lambda: all(now > then for now, then in zip(batches, before, strict=True)))
        done.set()
        await asyncio.gather(*running)
        tables = await holding(one, CANARY)
        print(f"ERASURE_RACE batches={sum(batches)} after={sum(batches) - sum(before)} tables_with_name={len(tables)}")
        assert tables == []
