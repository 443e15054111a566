"""TLS towards a warehouse: required, refused, and verified for the name that the user typed."""

import os
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.local.infrastructure import Infrastructure, remove_state
from libs.common.connectors import PostgresSettings
from libs.common.egress import EgressPolicy
from services.log_miner.warehouses import WAREHOUSES, Step, WarehouseError
from tests.support.mining import Warehouse, fresh_warehouse


def _certificate(path: Path) -> None:
    """A certificate for `localhost`, its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    path.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Infrastructure]:
    """A warehouse that takes TLS, and nothing else from the role `strict_…`."""
    state = Path(tmp_path_factory.mktemp("cluster"))
    try:
        async with Infrastructure.on_free_ports(state, only=("warehouse",)) as running:
            data = running.warehouse.data_dir
            _certificate(data / "server")
            owner = data.stat()
            for file in (data / "server.crt", data / "server.key"):
                file.chmod(0o600)
                os.chown(file, owner.st_uid, owner.st_gid)
            rules = data / "pg_hba.conf"
            rules.write_text("hostnossl all /^strict_ all reject\n" + rules.read_text())
            admin = await asyncpg.connect(running.warehouse.dsn("postgres"))
            await admin.execute("ALTER SYSTEM SET ssl = on")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.close()
            yield running
    finally:
        remove_state(state)


@pytest.fixture(scope="module")
async def warehouse(cluster: Infrastructure) -> AsyncIterator[Warehouse]:
    async with fresh_warehouse(cluster.warehouse.dsn("postgres")) as fresh:
        await fresh.login("strict", grants="GRANT pg_monitor")
        yield fresh


async def last_step(warehouse: Warehouse, **changes: object) -> Step:
    """The step at which a check ends."""
    settings = PostgresSettings.model_validate(warehouse.settings(**changes))
    steps = [
        step async for step in WAREHOUSES["postgres"](settings, EgressPolicy.of(["127.0.0.0/8"]).address_of).check()
    ]
    return steps[-1]


@pytest.mark.parametrize("mode", ["disable", "prefer", "require"])
async def test_modes_without_verification(warehouse: Warehouse, mode: str) -> None:
    assert (await last_step(warehouse, ssl_mode=mode)).step == "read the log"


async def test_a_server_that_wants_tls_says_so(warehouse: Warehouse) -> None:
    strict = f"strict_{warehouse.database}"
    refused = await last_step(warehouse, username=strict, ssl_mode="disable")
    assert (refused.step, refused.ok) == ("authenticate", False)
    assert "only TLS" in refused.detail
    assert (await last_step(warehouse, username=strict, ssl_mode="prefer")).step != "authenticate"


async def test_the_typed_name_is_verified_although_an_address_is_dialled(
    warehouse: Warehouse, cluster: Infrastructure, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrusted = await last_step(warehouse, host="localhost", ssl_mode="verify-full")
    assert (untrusted.step, untrusted.ok) == ("authenticate", False)
    assert "not trusted" in untrusted.detail

    monkeypatch.setenv(
        ssl.get_default_verify_paths().openssl_cafile_env, str(cluster.warehouse.data_dir / "server.crt")
    )
    assert (await last_step(warehouse, host="localhost", ssl_mode="verify-full")).step == "read the log"
    other_name = await last_step(warehouse, host="127.0.0.1", ssl_mode="verify-full")
    assert (other_name.step, other_name.ok) == ("authenticate", False)
    assert "not trusted for 127.0.0.1" in other_name.detail
    settings = PostgresSettings.model_validate(warehouse.settings(host="127.0.0.1", ssl_mode="verify-full"))
    with pytest.raises(WarehouseError) as raised:
        async with WAREHOUSES["postgres"](settings, EgressPolicy.of(["127.0.0.0/8"]).address_of).open():
            pass
    assert raised.value.cause == "tls_not_trusted"
