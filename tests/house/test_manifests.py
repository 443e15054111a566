"""The manifests of Kubernetes and Compose agree with the code that they run."""

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from pydantic_settings import BaseSettings

from cli.settings import OperatorSettings
from deploy.setup.settings import Settings as SetupSettings
from libs.common.services import SERVICES, dashed
from libs.common.settings import SECRETS_DIR, ServiceSettings
from tests.house import deployed
from tests.house.deployed import Json, Process

SECRET_ENDINGS = ("_URL", "_SECRET", "_KEY", "_KEYS", "_PASSWORDS")


@pytest.fixture(params=["base", "dev", "compose"])
def processes(request: pytest.FixtureRequest) -> dict[str, Process]:
    """All processes that read our settings, as each of the manifests deploys them."""
    if request.param == "compose":
        return deployed.compose_processes()
    objects: tuple[Json, ...] = request.getfixturevalue(request.param)
    return deployed.kubernetes_processes(objects)


def settings_of(name: str) -> type[BaseSettings]:
    if name == "setup":
        return SetupSettings
    if name == "cli":
        return OperatorSettings
    module = importlib.import_module(f"services.{name.replace('-', '_')}.settings")
    return cast(type[BaseSettings], module.Settings)


def variables_of(model: type[BaseSettings], *, required: bool = False) -> set[str]:
    fields = model.model_fields.items()
    return {f"TIDEMARK_{name.upper()}" for name, field in fields if field.is_required() or not required}


def test_every_service_is_deployed(processes: Mapping[str, Process]) -> None:
    folders = {path.parent.name for path in (deployed.ROOT / "services").glob("*/__init__.py")}
    assert folders == set(SERVICES)
    assert {name: processes[name].command[-1] for name in processes if name not in ("setup", "cli")} == {
        dashed(folder): f"services.{folder}.app" for folder in folders
    }


def test_every_variable_is_a_setting(processes: Mapping[str, Process]) -> None:
    shared = variables_of(ServiceSettings) | {SECRETS_DIR}
    for process in processes.values():
        given = {*process.variables, *process.secrets}
        assert not given - variables_of(settings_of(process.name)) - shared, process.name


def test_every_required_setting_is_given(processes: Mapping[str, Process]) -> None:
    for process in processes.values():
        missing = variables_of(settings_of(process.name), required=True) - {*process.variables, *process.secrets}
        assert not missing, process.name


def test_no_secret_stands_in_the_environment(processes: Mapping[str, Process]) -> None:
    for process in processes.values():
        shown = [name for name in process.variables if name.endswith(SECRET_ENDINGS)]
        assert [name for name in shown if name != "TIDEMARK_GATEWAY_URL"] == [], process.name


def test_the_upstreams_are_the_other_services(processes: Mapping[str, Process]) -> None:
    upstreams = json.loads(processes["gateway"].variables["TIDEMARK_UPSTREAMS"])
    port = processes["gateway"].variables["TIDEMARK_HTTP_PORT"]
    assert upstreams == {name: f"http://{dashed(name)}:{port}" for name in SERVICES if name != "gateway"}


@pytest.mark.parametrize("processes", ["dev", "compose"], indirect=True)
def test_each_process_accepts_its_settings(
    processes: Mapping[str, Process], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With generated secrets, exactly as deployed; a service has its own database logins and no other's."""
    for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)
    for process in processes.values():
        folder = tmp_path / process.name
        folder.mkdir()
        for name, content in process.secrets.items():
            (folder / name).write_text(content)
        with monkeypatch.context() as environment:
            for name, value in {**process.variables, SECRETS_DIR: str(folder)}.items():
                environment.setenv(name, value)
            settings = settings_of(process.name)()
        if isinstance(settings, ServiceSettings):
            urls = (settings.api_database_url, settings.worker_database_url)
            own = process.name.replace("-", "_")
            assert [urlsplit(url.get_secret_value()).username for url in urls] == [f"{own}_api", f"{own}_worker"]
