"""The egress policy: which addresses may be dialled, and that names cannot hide others."""

from ipaddress import ip_address

import pytest

from libs.common.egress import EgressPolicy, EgressRefused, HostNotFound, is_public

NOTHING = EgressPolicy.of(())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "0.0.0.0",  # noqa: S104 (refused)
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "2002:7f00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "ff02::1",
    ],
)
def test_addresses_inside_are_refused(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not NOTHING.allows(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert NOTHING.allows(ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "::1", "LOCALHOST."])
async def test_no_spelling_of_loopback_gets_through(host: str) -> None:
    with pytest.raises((EgressRefused, HostNotFound)):
        await NOTHING.address_of(host, 5432)


@pytest.mark.parametrize("host", ["", "/var/run/postgresql", "a,b", "a b", "user@host", "host\n", "fe80::1%lo", "-x"])
async def test_what_is_no_single_host_is_refused(host: str) -> None:
    with pytest.raises(EgressRefused):
        await NOTHING.address_of(host, 5432)


@pytest.mark.parametrize("allow", ["127.0.0.0/8", "127.0.0.1", "LocalHost"])
async def test_the_operator_allows_by_network_address_or_name(allow: str) -> None:
    policy = EgressPolicy.of([allow])
    assert await policy.address_of("localhost", 5432) in {"127.0.0.1", "::1"}


async def test_an_allowed_network_allows_nothing_else() -> None:
    with pytest.raises(EgressRefused, match="TIDEMARK_EGRESS_ALLOW"):
        await EgressPolicy.of(["127.0.0.0/8"]).address_of("10.0.0.1", 5432)


async def test_the_checked_address_is_returned_not_the_name() -> None:
    assert await EgressPolicy.of(["127.0.0.0/8"]).address_of("localhost", 5432) == "127.0.0.1"


async def test_an_unknown_name_is_no_refusal() -> None:
    with pytest.raises(HostNotFound, match="no-such-host"):
        await NOTHING.address_of("no-such-host.invalid", 5432)
