"""The Compose file, checked without Docker."""

from deploy.local.postgres import WAREHOUSE_SETTINGS
from tests.house.deployed import ROOT, compose, compose_processes, ours


def test_compose_services_are_confined_and_watched() -> None:
    for name, service in ours(compose()).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert "/readyz" in service["healthcheck"]["test"][-1]
        assert service["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    for service in compose()["services"].values():
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}


def test_compose_publishes_ports_on_this_machine_only() -> None:
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_refers_to_what_it_defines() -> None:
    project = compose()
    for name, service in project["services"].items():
        assert set(service.get("depends_on", ())) <= set(project["services"]), name
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(project["volumes"]), name
    made = {volume.partition(":")[0] for volume in project["services"]["secrets"]["volumes"]}
    assert made == {volume for volume in project["volumes"] if volume.startswith("secrets-")}


def test_the_compose_warehouse_logs_as_the_local_one() -> None:
    command = compose()["services"]["warehouse"]["command"]
    given = dict(word.split("=", 1) for word in command if "=" in word)
    assert given == dict(WAREHOUSE_SETTINGS)


def test_images_are_pinned() -> None:
    images = {service["image"] for service in compose()["services"].values()}
    assert all(":" in image and not image.endswith(":latest") for image in images)
    assert {image.partition(":")[0] for image in images} == {"tidemark", "postgres", "apache/kafka"}


def test_the_image_holds_every_command() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    commands = [process.command for process in compose_processes().values() if process.name != "cli"]
    commands += [tuple(compose()["services"]["secrets"]["command"])]
    for command in commands:
        path = command[2].replace(".", "/")
        assert any(path == name.removesuffix(".py") or path.startswith(f"{name}/") for name in kept), command
    assert all((ROOT / name).exists() for name in kept)
