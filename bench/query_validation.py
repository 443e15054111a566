"""Guard and template: statements a second for texts never seen, and for texts that were seen before, which are neither
parsed nor compiled again. One process, no server."""

import statistics
import time

from bench.harness import Result
from services.query_executor.guard import Policy
from services.query_executor.preparation import compiled, given, prepare
from services.query_executor.statement import Engine
from services.query_executor.template import Values

TEXTS, ROUNDS, TARGET = 200, 3, 10.0
_TEXT = """SELECT date_trunc('day', o.created_at) AS day, c.country, count(*) AS orders, sum(o.total) AS revenue
FROM orders o JOIN customers c ON c.id = o.customer_id
WHERE o.created_at BETWEEN '{{{{ since }}}}' AND '{{{{ until }}}}' AND c.country IN ({{{{ countries }}}})
  AND o.total > {n} {{% if state %}} AND o.state = '{{{{ state }}}}' {{% endif %}}
GROUP BY 1, 2 HAVING count(*) > {{{{ least }}}} ORDER BY 1 DESC LIMIT 100"""
_PARAMS = {"since": "2024-01-01", "until": "2024-02-01", "countries": ["DE", "FR"], "state": "paid", "least": 3}


def _seconds(texts: list[str]) -> float:
    policy, began = Policy(), time.process_time()
    for text in texts:
        template = compiled(text, Engine.POSTGRES)
        prepare(template, Values(given(template, (), _PARAMS), {}, {}), policy)
    return time.process_time() - began


def measure() -> list[Result]:
    """New texts, then the same again; CPU time, medians."""
    first, again = list[float](), list[float]()
    _seconds([_TEXT.format(n=-1)])
    for turn in range(ROUNDS):
        texts = [_TEXT.format(n=turn * TEXTS + number) for number in range(TEXTS)]
        first.append(_seconds(texts))
        again.append(_seconds(texts))
    new, known = TEXTS / statistics.median(first), TEXTS / statistics.median(again)
    print(f"QUERY_VALIDATION new_per_second={new:.0f} known_per_second={known:.0f}")
    return [Result("query_validation", known, "statements/s", known / new, f">={TARGET:g}", known / new >= TARGET)]
