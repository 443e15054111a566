"""Services in the test's own process, behind real sockets: for what only the inside can show, such as spans."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from deploy.local.ports import free_port


@asynccontextmanager
async def served(app: FastAPI | ASGIApp, port: int) -> AsyncIterator[None]:
    """Serve an application until the end of the block; it has started when the block begins."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
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
    return {name: free_port() for name in names}
