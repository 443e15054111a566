"""The check of a connector to Superset: from the name of its host to each list that a scrape reads."""

from collections.abc import AsyncIterator
from typing import Final

from libs.common.connectors import SupersetSettings
from services.scraper.tools.fields import inner, items, whole
from services.scraper.tools.http_client import Limits, Resolve, host_and_port
from services.scraper.tools.http_errors import network_error
from services.scraper.tools.interface import Step, ToolError
from services.scraper.tools.superset_history import PATH
from services.scraper.tools.superset_lists import CHARTS, DASHBOARDS, DATABASES, DATASETS, SAVED_QUERIES, USERS, rison
from services.scraper.tools.superset_session import SupersetSession, superset_session

_LISTS: Final = (CHARTS, DASHBOARDS, DATASETS, DATABASES)
_ALL_QUERIES: Final = "all_query_access"


async def check_steps(settings: SupersetSettings, resolve: Resolve, limits: Limits) -> AsyncIterator[Step]:
    """See BiTool.check."""
    host, port = host_and_port(settings.base_url)
    try:
        with network_error(settings.base_url):
            address = await resolve(host, port)
        yield Step("resolve host", True, f"{host} is {address}")
    except ToolError as error:
        yield _failed("resolve host", error)
        return
    try:
        async with superset_session(settings, resolve, limits) as session:
            async for step in _inside(session):
                yield step
    except ToolError as error:
        yield _failed("connect", error)


async def _inside(session: SupersetSession) -> AsyncIterator[Step]:
    try:
        answer = await session.http.send("GET", "/health")
        yield Step("connect", True, f"{session.settings.base_url} answers (status {answer.status})")
    except ToolError as error:
        yield _failed("connect", error)
        return
    try:
        await session.login()
        yield Step("log in", True, f"logged in as {session.settings.username}")
    except ToolError as error:
        yield _failed("log in", error)
        return
    for resource in _LISTS:
        yield await _readable(session, resource.name, resource.path)
    saved = await _readable(session, SAVED_QUERIES.name, SAVED_QUERIES.path)
    own = "Superset shows an account only the saved queries that it made itself"
    yield Step(saved.step, saved.ok, f"{saved.detail}; {own}" if saved.ok else saved.detail, saved.fix)
    if session.settings.include_sql_lab:
        yield await _history(session)
        yield await _readable(session, USERS.name, USERS.path)


async def _readable(session: SupersetSession, name: str, path: str) -> Step:
    try:
        answer = await session.get(path, {"q": rison({"page": 0, "page_size": 1})})
    except ToolError as error:
        return _failed(f"read {name}", error)
    return Step(f"read {name}", True, f"{whole(answer, 'count')} {name} can be seen")


async def _history(session: SupersetSession) -> Step:
    """The history can be read by everybody; that of others only with a right."""
    step = await _readable(session, "SQL Lab runs", PATH)
    if not step.ok:
        return step
    answer = await session.ask("GET", "/api/v1/me/roles/")
    roles = inner(inner(answer.body, "result"), "roles") if isinstance(answer.body, dict) else {}
    rights = [right for name in roles for right in items(roles, name)]
    if not rights or any(isinstance(right, list) and _ALL_QUERIES in right for right in rights):
        return step
    fix = f"give the account a role with {_ALL_QUERIES}"
    return Step(step.step, False, "the account sees only its own SQL Lab runs, which are not counted", fix)


def _failed(step: str, error: ToolError) -> Step:
    return Step(step, False, error.detail, error.detail)
