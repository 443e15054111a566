"""A bound statement as one text."""

from collections.abc import Callable

from services.query_executor.statement import Bind, Bound


def written(bound: Bound, placeholder: Callable[[int, Bind], str]) -> str:
    """The statement with the driver's placeholder for each bind, cast where the author wrote a typed literal."""
    pieces = [bound.parts[0]]
    for number, (value, part) in enumerate(zip(bound.binds, bound.parts[1:], strict=True)):
        mark = placeholder(number, value)
        pieces += [f"CAST({mark} AS {value.cast})" if value.cast else mark, part]
    return "".join(pieces)
