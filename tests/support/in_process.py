"""Services in the test's own process, behind real sockets: for what only the inside can show, such as spans."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from deploy.local import ports


@asynccontextmanager
async def served(app: FastAPI | ASGIApp, port: int) -> AsyncIterator[None]:
    """Serve an application until the end of the block; it has started when the block begins."""
    # Named as TCP, or asyncio leaves Nagle's algorithm on and each answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    # As `libs.common.http.serve` has it: a client must not find a connection closed that it takes from its pool.
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_keep_alive=75)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                serving.result()
                raise AssertionError("the application did not start")
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await serving
        listener.close()


def free_ports(*names: str) -> dict[str, int]:
    """A port for each name."""
    return dict(zip(names, ports.free_ports(len(names)), strict=True))
