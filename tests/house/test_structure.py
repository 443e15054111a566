"""Where code lies and what it may touch."""

import ast
from collections.abc import Iterator
from pathlib import Path

from libs.common.services import SERVICES
from tests.house.tree import CODE, ROOT, Module, is_sql, modules, none, within

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
EVERYWHERE = {"__init__.py", "app.py", "settings.py"}
# A service that does something has all of these, as a file or, where one file would be long, as a package.
WORKING = {"api", "service", "domain", "store"}
IMPURE = {
    "aiohttp", "aiokafka", "asyncio", "asyncpg", "cryptography", "fastapi", "faststream", "httpx", "io", "jwt",
    "libs.common.broker", "libs.common.clock", "libs.common.consume", "libs.common.db", "libs.common.http",
    "libs.common.jobs", "libs.common.outbox", "libs.common.telemetry", "logging", "opentelemetry", "os", "pathlib",
    "pgqueuer", "prometheus_client", "random", "secrets", "shutil", "socket", "ssl", "starlette", "structlog",
    "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uvicorn",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "uuid4", "open", "print", "input"}
# Files of the libraries that hold SQL by their nature; in a service only the store does.
SQL_LIBRARIES = {
    "libs/common/db.py": "sets the tenant of a transaction",
    "libs/common/outbox.py": "the outbox table",
    "libs/common/jobs.py": "the queue's tables",
    "libs/common/schedules.py": "the schedules of each service that starts jobs by the clock",
    "libs/common/connector_copy.py": "the copy table of each service that needs connectors",
    "libs/common/collecting/table.py": "the jobs table of each collecting service",
    "libs/common/collecting/places.py": "where each collecting service goes on reading",
    "libs/common/tenants.py": "the copy table of each service that stores anything of tenants",
    "libs/common/erasure.py": "the table of erased names of each service that stores names",
}


def test_services_import_neither_each_other_nor_what_is_above_them() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for module in modules("services", "libs"):
            own = ".".join(module.path.parts[:2])
            for line, name in module.imports():
                sibling = within(name, "services") and not (module.path.parts[0] == "services" and within(name, own))
                if sibling or any(within(name, above) for above in ("cli", "deploy", "tests", "bench")):
                    yield module.path, line, name

    none(found())


def domains() -> list[Module]:
    return [module for module in modules("services") if "domain" in (module.path.stem, module.path.parent.name)]


def reaches_out(name: str) -> bool:
    """Whether an import brings more than a constant from where the world is touched."""
    return any(within(name, package) for package in IMPURE) and not name.rpartition(".")[2].isupper()


def test_domains_are_pure() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for module in domains():
            yield from ((module.path, line, name) for line, name in module.imports() if reaches_out(name))
            for node in ast.walk(module.tree):
                if isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)):
                    yield module.path, node.lineno, "waits"
                if isinstance(node, ast.Call) and called(node) in CLOCKS:
                    yield module.path, node.lineno, f"calls {called(node)}"

    assert domains()
    none(found())


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def test_files_are_short() -> None:
    long = [(m.path, m.text.count("\n"), "lines") for m in modules(*CODE) if m.text.count("\n") > MAX_FILE_LINES]
    none(long)


def lines_of(node: ast.stmt | ast.expr, first: int = 0) -> set[int]:
    return set(range(node.lineno + first, (node.end_lineno or node.lineno) + 1))


def own_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body. A long string, such as a statement, counts as one; functions defined inside do not count."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    own = {line for node in body for line in lines_of(node)}
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            own -= lines_of(node)
        elif isinstance(node, (ast.Constant, ast.JoinedStr)):
            own -= lines_of(node, first=1)
    return len(own)


def test_functions_are_short() -> None:
    def found() -> Iterator[tuple[Path, int, str]]:
        for module in modules(*CODE):
            for function in module.functions():
                if own_lines(function) > MAX_FUNCTION_LINES:
                    yield module.path, function.lineno, f"{function.name} has {own_lines(function)} lines"

    none(found())


def may_hold_sql(path: Path) -> bool:
    # What a warehouse is asked is that warehouse's dialect and lies with its adapter.
    return bool({"store", "warehouses", "drivers"} & {path.stem, *path.parts}) or str(path) in SQL_LIBRARIES


def sql_places() -> Iterator[tuple[Path, int, str]]:
    for module in modules("services", "libs"):
        if "sql" in module.path.parts:
            continue  # the parser of other people's SQL
        yield from ((module.path, line, text.strip()[:40]) for line, text in module.strings() if is_sql(text))


def test_sql_stands_in_stores() -> None:
    none(place for place in sql_places() if not may_hold_sql(place[0]))


def test_no_library_is_exempt_in_vain() -> None:
    assert set(SQL_LIBRARIES) - {str(path) for path, _, _ in sql_places()} == set()


def test_services_have_the_same_files() -> None:
    missing = []
    for service in SERVICES:
        folder = ROOT / "services" / service
        wanted = set(EVERYWHERE)
        missing += [str(folder / name) for name in wanted if not (folder / name).is_file()]
        # The gateway's own tables are one part of it, the registry.
        present = {path.stem for path in (*folder.glob("*"), *folder.glob("registry/*"))}
        if present & (WORKING | {"consumers"}):
            missing += [str(folder / name) for name in WORKING - present]
    assert [str(Path(path).relative_to(ROOT)) for path in missing] == []


def test_nothing_connects_at_import() -> None:
    """Brokers, pools, routers and applications are built by functions, so that each test and process has its own."""
    makers = {
        "APIRouter",
        "FastAPI",
        "KafkaBroker",
        "KafkaRouter",
        "create_pool",
        "ClientSession",
        "FastStream",
        "create_app",
    }

    def found() -> Iterator[tuple[Path, int, str]]:
        for module in modules(*CODE):
            for statement in module.tree.body:
                if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Expr)):
                    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
                    yield from ((module.path, call.lineno, called(call)) for call in calls if called(call) in makers)

    none(found())
