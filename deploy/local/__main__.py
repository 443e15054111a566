"""`python -m deploy.local`: the stack without Docker. Everything listens on 127.0.0.1 only."""

import asyncio
import contextlib
import os
import sys
import time
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from deploy.local.background import ERROR, detach, take_down, wait_for
from deploy.local.console import Follower, follow, say
from deploy.local.errors import AlreadyRunning, LocalStackError, UnknownProcess
from deploy.local.foreground import run
from deploy.local.infrastructure import log_of, remove_state
from deploy.local.plan import chosen
from deploy.local.run_files import RunFiles, is_alive
from deploy.local.settings import LocalSettings, setting_of
from deploy.local.supervisor import Stack

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def names(only: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in only.split(",") if name.strip())


@app.command()
def up(
    only: Annotated[str, typer.Option(help="Comma-separated processes to run instead of all.")] = "",
    background: Annotated[bool, typer.Option("--detach", help="Return when ready and leave it running.")] = False,
    reuse: Annotated[bool, typer.Option("--reuse", help="Be content with a stack that already runs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not show what the processes print.")] = False,
) -> None:
    """Start the stack and keep it running until Ctrl-C."""
    settings = LocalSettings()
    chosen(names(only))
    if pid := RunFiles(settings.state_dir).supervisor():
        if reuse:
            return wait_for(RunFiles(settings.state_dir))
        raise AlreadyRunning(pid, settings.state_dir)
    if background:
        return detach(settings.state_dir, ["--only", only])
    stack = Stack(settings, names(only), clock=os.environ.get("TIDEMARK_CLOCK"))
    return asyncio.run(run(stack, show_output=not quiet))


@app.command()
def down() -> None:
    """Stop the running stack in order and wait until it has ended."""
    began = time.monotonic()
    stopped = take_down(LocalSettings().state_dir)
    say(f"stopped in {time.monotonic() - began:.1f} s" if stopped else "nothing is running")


@app.command()
def reset() -> None:
    """Stop the stack and remove all its data, logs and secrets; the servers' unpacked files stay."""
    state_dir = LocalSettings().state_dir
    take_down(state_dir)
    remove_state(state_dir)
    say(f"removed the state in {state_dir}")


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="A process; all of them without it.")] = "",
    tail: Annotated[int, typer.Option(help="How many old lines to show first.")] = 20,
    stay: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for new lines.")] = True,
) -> None:
    """Show the logs of the processes and follow them."""
    directory = log_of(LocalSettings().state_dir, "x").parent
    known = sorted(path.stem for path in directory.glob("*.log"))
    if name and name not in known:
        raise UnknownProcess(name, known)
    followers = [Follower(each, log_of(LocalSettings().state_dir, each)) for each in known if name in ("", each)]
    for follower in followers:
        follower.show(last=tail)
    if stay:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(follow(followers))


@app.command()
def status() -> None:
    """Show the processes; exit code 1 when the stack is not running or one of them has failed."""
    files = RunFiles(LocalSettings().state_dir)
    state = files.read()
    if files.supervisor() is None or state is None:
        raise LocalStackError("nothing is running")
    print(f"supervisor pid {state.supervisor}, {state.state}")
    for process in state.processes:
        ports = ",".join(str(port) for port in process.ports) or "-"
        pid = process.pid if is_alive(process) else "-"
        print(f"{process.name:<18} {process.state:<11} pid {pid!s:<8} ports {ports:<12} restarts {process.restarts}")
    if any(process.state == "failed" for process in state.processes):
        raise LocalStackError("a process has failed, see above")


def main() -> None:
    """Run a command; what went wrong is one line on standard error and exit code 1."""
    try:
        app()
    except LocalStackError as error:
        fail(str(error))
    except ValidationError as error:
        fail("; ".join(": ".join((*(setting_of(str(part)) for part in e["loc"]), e["msg"])) for e in error.errors()))
    except OSError as error:  # a full disk, a directory of somebody else
        fail(str(error))


def fail(reason: str) -> NoReturn:
    print(f"{ERROR}{reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
