"""What a benchmark is, and the line that it prints."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import bench


@dataclass(frozen=True, slots=True)
class Result:
    """One promised figure. `ratio` is to the named alternative, or to the limit where the promise is a limit."""

    name: str
    value: float
    unit: str
    ratio: float
    target: str
    ok: bool

    def line(self) -> str:
        """`BENCH name=… value=… unit=… ratio=… target=… ok=…`."""
        return (
            f"BENCH name={self.name} value={self.value:.4g} unit={self.unit} ratio={self.ratio:.3g} "
            f"target={self.target} ok={'yes' if self.ok else 'no'}"
        )


Measure = Callable[[], list[Result]]
_NOT_BENCHMARKS = {"harness", "__main__"}


def benchmarks(*, peers: bool | None = None) -> dict[str, Measure]:
    """Every module of this package that has a `measure`, by name.

    A module with `PEER = True` needs a peer's venv; `peers` asks for those only, or for none of them.
    """
    names = [module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in _NOT_BENCHMARKS]
    modules: dict[str, ModuleType] = {name: importlib.import_module(f"bench.{name}") for name in names}
    measured = {name: module for name, module in modules.items() if hasattr(module, "measure")}
    return {
        name: module.measure
        for name, module in measured.items()
        if peers is None or peers == getattr(module, "PEER", False)
    }
