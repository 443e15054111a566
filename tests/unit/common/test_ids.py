"""Ids that are made quickly are those that the standard library makes."""

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from libs.common.ids import ResourceIds, audit_event_id, bi_query_id, deployment_id, fast_uuid, named_uuid


@given(st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_named_uuid_is_that_of_the_standard_library(namespace: UUID, name: str) -> None:
    made, expected = named_uuid(namespace.bytes + name.encode()), uuid5(namespace, name)
    assert (made, hash(made), str(made), made.bytes) == (expected, hash(expected), str(expected), expected.bytes)
    assert expected in {made}


@given(st.uuids(), st.uuids(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_record_has_the_same_id_each_time(tenant: UUID, connector: UUID, resource: str) -> None:
    expected = uuid5(tenant, f"{connector}\nchart\n{resource}")
    assert ResourceIds(fast_uuid(tenant), fast_uuid(connector))("chart", resource) == expected
    assert bi_query_id(tenant, connector, "chart", resource) == expected


def test_foreign_ids_become_ids_of_a_tenant_and_a_source() -> None:
    ids = [
        named(tenant, source, "7")
        for named in (deployment_id, audit_event_id)
        for tenant in (UUID(int=1), UUID(int=2))
        for source in ("github", "gitlab")
    ]
    assert len(set(ids)) == 8
    assert {each.version for each in ids} == {5}
    assert deployment_id(UUID(int=1), "github", "7") == uuid5(UUID(int=1), "deployment\ngithub\n7")
