from pathlib import Path

import pytest

from deploy.local.environment import Environment
from deploy.local.errors import UnknownProcess
from deploy.local.infrastructure import Infrastructure
from deploy.local.plan import PROCESSES, chosen, stages
from deploy.local.secret_file import SecretFile
from deploy.local.settings import LocalSettings, setting_of
from libs.common.services import SERVICES


def planned(tmp_path: Path, *only: str) -> list[tuple[str, ...]]:
    names = chosen(only)
    servers = Infrastructure(LocalSettings(state_dir=tmp_path), names)
    environment = Environment(servers, SecretFile(tmp_path / "secrets.json"), 0.0)
    return [tuple(p.name for p in stage.processes) for stage in stages(servers, environment, names)]


def test_databases_then_broker_then_setup_then_services(tmp_path: Path) -> None:
    assert planned(tmp_path) == [("postgres", "warehouse"), ("kafka",), ("setup",), SERVICES]


def test_a_choice_keeps_the_order_and_drops_empty_stages(tmp_path: Path) -> None:
    assert planned(tmp_path, "gateway", "kafka", "postgres") == [("postgres",), ("kafka",), ("gateway",)]


def test_no_choice_is_everything() -> None:
    assert chosen(()) == PROCESSES


def test_an_unknown_process_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownProcess, match=r"'kafak'; known are postgres, .*exporter"):
        chosen(["kafak"])


def test_every_port_has_its_own_default_and_setting() -> None:
    # Two clusters, the broker with two listeners, Superset.
    ports = {name: value for name, value in LocalSettings().model_dump().items() if name.endswith("_port")}
    assert len(set(ports.values())) == len(ports) == len(SERVICES) + 5
    assert setting_of("kafka_port") == "TIDEMARK_LOCAL_KAFKA_PORT"


def test_a_relative_state_directory_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMARK_LOCAL_STATE_DIR", "state")
    assert LocalSettings().state_dir == Path.cwd() / "state"
