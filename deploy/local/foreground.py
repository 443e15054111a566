"""`up` in the foreground: run a stack until a signal comes, showing what its processes print."""

import asyncio
import os
import signal
import time
from collections.abc import Callable

from deploy.local.console import Follower, follow, say
from deploy.local.family import kill_tree
from deploy.local.supervisor import Stack
from libs.common.services import SERVICES

INTERRUPTED = 130
SAME_SIGNAL_SECONDS = 0.3


async def run(stack: Stack, show_output: bool) -> None:
    """Start, print the addresses, and stop in order at SIGINT or SIGTERM. Raises LocalStackError."""
    interrupts = Interrupts()
    stopping = interrupts.stopping
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, interrupts, stack)
    output = asyncio.create_task(follow(followers(stack) if show_output else []))
    try:
        if await started(stack, stopping):
            for line in addresses(stack):
                say(line)
            await stopping.wait()
            say("stopping")
            await stack.stop()
        say("stopped")
    finally:
        output.cancel()


class Interrupts:
    """The first signal stops in order; a second one kills everything and leaves.

    One Ctrl-C may arrive twice: a child that is just being forked shares the pipe by which Python hears of signals.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.stopping = asyncio.Event()
        self._clock = clock
        self._first = 0.0

    def again(self) -> bool:
        """Note a signal; whether somebody insists."""
        if not self.stopping.is_set():
            self._first = self._clock()
            self.stopping.set()
        return self._clock() - self._first > SAME_SIGNAL_SECONDS


def on_signal(interrupts: Interrupts, stack: Stack) -> None:
    """What Ctrl-C does."""
    if not interrupts.again():
        return
    say("interrupted again: killing everything")
    for supervised in stack.known.values():
        if pid := supervised.process.pid:
            kill_tree(pid)
    os._exit(INTERRUPTED)


async def started(stack: Stack, stopping: asyncio.Event) -> bool:
    """Start the stack; False when a signal came first, and then nothing is left running."""
    start, stop = asyncio.create_task(stack.start()), asyncio.create_task(stopping.wait())
    await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not start.done():
        say("interrupted, stopping")
        start.cancel()
    try:
        await start
    except asyncio.CancelledError:
        return False
    return True


def followers(stack: Stack) -> list[Follower]:
    """One for each log file, from its present end."""
    made = [Follower(name, supervised.process.log) for name, supervised in stack.known.items()]
    for follower in made:
        follower.skip()
    return made


def addresses(stack: Stack) -> list[str]:
    """What a person needs to use the stack; passwords are in `operator.env` instead."""
    servers, state_dir = stack.infrastructure, stack.settings.state_dir
    known = {
        "gateway": f"{stack.env['TIDEMARK_GATEWAY_URL']}  (API: {stack.env['TIDEMARK_GATEWAY_URL']}/docs)",
        "postgres": f"127.0.0.1:{servers.postgres.port}",
        "warehouse": f"127.0.0.1:{servers.warehouse.port}",
        "kafka": servers.kafka.bootstrap_servers,
    }
    known |= {name: f"http://127.0.0.1:{stack.port(name)}" for name in SERVICES[1:] if name in stack.known}
    shown = [f"{name:<17} {address}" for name, address in known.items() if name in stack.known]
    return ["ready", *shown, f"passwords and keys: {state_dir / 'operator.env'}, logs: {state_dir / 'log'}"]
