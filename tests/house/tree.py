"""The source tree, as the rules of the house look at it."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ("libs", "services", "cli", "deploy")
_IGNORED = {".git", ".venv", ".local", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
_SQL = re.compile(
    r"""
    (\s | --[^\n]*\n)*
    ( SELECT\s | VALUES\s*\( | INSERT\sINTO\s | DELETE\sFROM\s | MERGE\sINTO\s | TRUNCATE\s | COPY\s
    | LISTEN\s | NOTIFY\s
    | UPDATE\s+[\w."{}]+\s+ (AS\s+\w+\s+ | \w+\s+)? SET\s
    | WITH\s+ (RECURSIVE\s+)? \w+\s* (\([^)]*\)\s*)? AS\s
    | CREATE\s+ (OR\sREPLACE\s | TEMP\s | TEMPORARY\s | UNLOGGED\s | UNIQUE\s)*
        (TABLE|INDEX|VIEW|SCHEMA|FUNCTION|ROLE|DATABASE)
    | ALTER\s (TABLE|ROLE|DEFAULT) | DROP\s (TABLE|INDEX|VIEW|SCHEMA)
    | SET\s (LOCAL|SESSION|ROLE)\s
    )
    """,
    re.VERBOSE,
)


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project, relative to its root: what git knows or would add, else what lies there."""
    found = _known_to_git() or _lying_there()
    return tuple(sorted(path for path in found if not _IGNORED & set(path.parts) and (ROOT / path).is_file()))


def _known_to_git() -> list[Path]:
    if not shutil.which("git"):
        return []
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [Path(name) for name in listed.stdout.split("\0") if name]


def _lying_there() -> list[Path]:
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _IGNORED]
        found += [(Path(folder) / name).relative_to(ROOT) for name in names]
    return found


@dataclass(frozen=True, slots=True)
class Module:
    """A parsed Python file."""

    path: Path
    text: str
    tree: ast.Module

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and dotted name of each import, those inside functions too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{self.path}:{node.lineno}: imports are absolute"
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def strings(self) -> Iterator[tuple[int, str]]:
        """Line and text of each string in the code, docstrings apart; a formatted one with `{}` in its gaps."""
        inside = {id(part) for node in ast.walk(self.tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        documents = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.JoinedStr):
                yield node.lineno, "".join(_literal(part) for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside | documents:
                yield node.lineno, node.value

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        yield from (node for node in ast.walk(self.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _literal(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "{}"


@cache
def modules(*roots: str) -> tuple[Module, ...]:
    """The Python files below some folders of the project."""
    found = [path for path in files() if path.suffix == ".py" and path.parts[0] in roots]
    texts = [(path, (ROOT / path).read_text()) for path in found]
    return tuple(Module(path, text, ast.parse(text, str(path))) for path, text in texts)


def is_sql(text: str) -> bool:
    """Whether a string begins as a statement does; statements are written in capitals here."""
    return _SQL.match(text) is not None


def within(name: str, package: str) -> bool:
    """Whether a dotted name is a package or something in it."""
    return name == package or name.startswith(f"{package}.")


def none(found: Iterable[tuple[Path, int, str]]) -> None:
    """Fail with `file:line: what` for each, as editors and readers like it."""
    listed = [f"{path}:{line}: {what}" for path, line, what in found]
    assert not listed, "\n".join(["", *listed])
