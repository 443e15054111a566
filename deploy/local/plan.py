"""What a stack consists of and in which order it starts; it stops in reverse."""

from collections.abc import Collection
from dataclasses import dataclass

from deploy.local.environment import Environment, service_port
from deploy.local.errors import UnknownProcess
from deploy.local.infrastructure import KAFKA, POSTGRES, SERVERS, WAREHOUSE, Infrastructure, log_of
from deploy.local.ports import free_port
from deploy.local.process import ManagedProcess
from deploy.local.service import ServiceProcess, SetupStep
from deploy.local.settings import LocalSettings, setting_of
from libs.common.services import SERVICES

SETUP = "setup"
PROCESSES = (*SERVERS, SETUP, *SERVICES)


@dataclass(frozen=True, slots=True)
class Stage:
    """Processes that start together."""

    name: str
    processes: tuple[ManagedProcess, ...]


def chosen(only: Collection[str]) -> tuple[str, ...]:
    """The names of the processes to run, all of them for an empty choice. Raises UnknownProcess."""
    for name in only:
        if name not in PROCESSES:
            raise UnknownProcess(name, list(PROCESSES))
    return tuple(name for name in PROCESSES if not only or name in only)


def stages(infrastructure: Infrastructure, environment: Environment, names: Collection[str]) -> list[Stage]:
    """The stages of the chosen processes, first to start first."""
    servers, settings = infrastructure.processes, infrastructure.settings
    setup = SetupStep(SETUP, log_of(settings.state_dir, SETUP), environment.setup())
    services = tuple(first_replica(environment, service) for service in SERVICES if service in names)
    planned = (
        Stage("databases", tuple(servers[name] for name in (POSTGRES, WAREHOUSE) if name in names)),
        Stage("broker", tuple(servers[name] for name in (KAFKA,) if name in names)),
        Stage("roles, topics and migrations", (setup,) if SETUP in names else ()),
        Stage("services", services),
    )
    return [stage for stage in planned if stage.processes]


def first_replica(environment: Environment, service: str) -> ServiceProcess:
    """The replica that the gateway talks to, on the port of the settings."""
    return _replica(environment, service, service, service_port(environment.settings, service))


def further_replica(environment: Environment, service: str, number: int) -> ServiceProcess:
    """Another replica on any free port; it shares the consumer groups and queues of the first."""
    return _replica(environment, service, f"{service}-{number}", free_port())


def _replica(environment: Environment, service: str, name: str, port: int) -> ServiceProcess:
    settings: LocalSettings = environment.settings
    env = environment.service(service, port)
    return ServiceProcess(name, log_of(settings.state_dir, name), service, port, env, setting_of(f"{service}_port"))
