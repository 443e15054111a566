"""What the manifests deploy, read in one form from Kubernetes and from Compose."""

import base64
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.secrets import Secrets, write
from libs.common.services import SERVICES, dashed

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "k8s"
COMPOSE = ROOT / "docker-compose.yml"
SEED = bytes(range(32))
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Process:
    """A deployed process: its name, its command, its variables, and its secrets by file name."""

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str]
    secrets: Mapping[str, str]


@cache
def rendered(directory: str) -> tuple[Json, ...]:
    """The objects of a kustomization below deploy/k8s."""
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed: the Kubernetes manifests were not rendered")
    done = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def base() -> tuple[Json, ...]:
    return rendered(str(KUBERNETES / "base"))


def dev_overlay(scratch: Path) -> tuple[Json, ...]:
    """The overlay of a copy, with secrets made for it as its first line says."""
    copy = shutil.copytree(KUBERNETES, scratch / "k8s", ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    secrets = copy / "overlays" / "dev" / "secrets"
    secrets.mkdir()
    write(secrets, Secrets(SEED).folders())
    return rendered(str(copy / "overlays" / "dev"))


def of_kind(objects: tuple[Json, ...], kind: str) -> dict[str, Json]:
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pod_of(workload: Json) -> Json:
    pod: Json = workload["spec"]["template"]["spec"]
    return pod


def container_of(workload: Json) -> Json:
    (container,) = pod_of(workload)["containers"]
    found: Json = container
    return found


def _variables(workload: Json, maps: Mapping[str, Json]) -> dict[str, str]:
    sources = [source["configMapRef"]["name"] for source in container_of(workload)["envFrom"]]
    return {name: value for source in sources for name, value in maps[source]["data"].items()}


def _secrets(workload: Json, stored: Mapping[str, Json]) -> dict[str, str]:
    """By file name; a value is empty where the Secret is made outside."""
    (mounted,) = [volume["secret"] for volume in pod_of(workload)["volumes"] if "secret" in volume]
    data = stored[mounted["secretName"]]["data"] if stored else {}
    keys = {item["path"]: item["key"] for item in mounted["items"]}
    return {path: base64.b64decode(data[key]).decode() if stored else "" for path, key in keys.items()}


def kubernetes_processes(objects: tuple[Json, ...]) -> dict[str, Process]:
    """The services and the setup Job."""
    maps, stored = of_kind(objects, "ConfigMap"), of_kind(objects, "Secret")
    workloads = of_kind(objects, "Deployment") | of_kind(objects, "Job")
    return {
        name: Process(
            name, tuple(container_of(workload)["command"]), _variables(workload, maps), _secrets(workload, stored)
        )
        for name, workload in workloads.items()
    }


@cache
def compose() -> Json:
    """The Compose file with its defaults put in for variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", COMPOSE.read_text())
    assert "${" not in text, "every variable of the Compose file has a default"
    project: Json = yaml.safe_load(text)
    return project


def ours(project: Json) -> dict[str, Json]:
    """The Compose services that run our image and stay."""
    return {name: service for name, service in project["services"].items() if name in map(dashed, SERVICES)}


def compose_processes() -> dict[str, Process]:
    """The services, the setup step and the command line."""
    project, folders = compose(), Secrets(SEED).folders()
    found = {}
    for name in (*ours(project), "setup", "cli"):
        service = project["services"][name]
        variables = {key: str(value) for key, value in service["environment"].items() if value is not None}
        (volume,) = [v for v in service["volumes"] if v.endswith(":/run/secrets/tidemark:ro")]
        folder = volume.partition(":")[0].removeprefix("secrets-")
        found[name] = Process(name, tuple(service["command"]), variables, folders[folder])
    return found
