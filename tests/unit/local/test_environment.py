import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.environment import Environment, clock_offset, public_key
from deploy.local.errors import LocalStackError
from deploy.local.infrastructure import Infrastructure
from deploy.local.secret_file import SecretFile
from deploy.local.settings import LocalSettings
from libs.common.services import SERVICES

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
WANTED = "2026-03-18T15:30:00Z"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    settings = LocalSettings(state_dir=tmp_path)
    return Environment(Infrastructure(settings), SecretFile(tmp_path / "secrets.json"), 0.0)


def test_no_wish_is_real_time(tmp_path: Path) -> None:
    assert clock_offset(None, tmp_path / "clock.json", NOW) == 0.0


def test_the_offset_leads_to_the_wanted_moment(tmp_path: Path) -> None:
    offset = clock_offset(WANTED, tmp_path / "clock.json", NOW)
    assert NOW + timedelta(seconds=offset) == datetime(2026, 3, 18, 15, 30, tzinfo=UTC)


def test_a_restart_with_the_same_wish_goes_on(tmp_path: Path) -> None:
    first = clock_offset(WANTED, tmp_path / "clock.json", NOW)
    assert clock_offset(WANTED, tmp_path / "clock.json", NOW + timedelta(hours=1)) == first


def test_another_wish_sets_the_clock_anew(tmp_path: Path) -> None:
    first = clock_offset(WANTED, tmp_path / "clock.json", NOW)
    assert clock_offset("2026-03-19T15:30:00Z", tmp_path / "clock.json", NOW) == first + 86_400


@pytest.mark.parametrize("text", ["yesterday", "2026-03-18T15:30:00", "2026-13-01T00:00:00Z"])
def test_a_malformed_clock_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(LocalStackError, match="TIDEMARK_CLOCK"):
        clock_offset(text, tmp_path / "clock.json", NOW)


def test_each_login_of_a_service_has_the_password_that_setup_gives_it(environment: Environment) -> None:
    passwords = json.loads(environment.setup()["TIDEMARK_ROLE_PASSWORDS"])
    for service in SERVICES:
        env = environment.service(service, 1)
        for kind in ("api", "worker"):
            password = passwords[f"{service}_{kind}"]
            assert f"{service}_{kind}:{password}@" in env[f"TIDEMARK_{kind.upper()}_DATABASE_URL"]
    assert len(set(passwords.values())) == 2 * len(SERVICES)


def test_only_the_gateway_can_sign(environment: Environment) -> None:
    signing = environment.service("gateway", 1)["TIDEMARK_INTERNAL_PRIVATE_KEY"]
    for service in SERVICES:
        env = environment.service(service, 1)
        assert list(json.loads(env["TIDEMARK_INTERNAL_PUBLIC_KEYS"]).values()) == [public_key(signing)]
        assert (signing in env.values()) is (service == "gateway")


def test_services_never_get_the_superuser(environment: Environment) -> None:
    secret = environment.infrastructure.postgres.password
    assert not any(secret in value for service in SERVICES for value in environment.service(service, 1).values())


def test_the_gateway_knows_every_other_service(environment: Environment) -> None:
    upstreams = json.loads(environment.service("gateway", 8080)["TIDEMARK_UPSTREAMS"])
    assert set(upstreams) == set(SERVICES) - {"gateway"}
    assert len(set(upstreams.values())) == len(upstreams)


def test_secrets_are_made_once_and_private(environment: Environment, tmp_path: Path) -> None:
    first = environment.operator()
    again = Environment(environment.infrastructure, SecretFile(tmp_path / "secrets.json"), 0.0).operator()
    assert first == again
    assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600


def test_bytecode_stays_on_and_the_clock_wish_is_not_handed_on(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("TIDEMARK_CLOCK", WANTED)
    monkeypatch.setenv("TIDEMARK_LOG_LEVEL", "DEBUG")
    env = environment.service("exporter", 1)
    assert not {"PYTHONDONTWRITEBYTECODE", "TIDEMARK_CLOCK"} & set(env)
    assert env["TIDEMARK_LOG_LEVEL"] == "DEBUG"
