"""Queries as templates: what an author writes with `{{ … }}` becomes a statement whose values travel beside it."""

from services.query_executor.template.compiled import Template
from services.query_executor.template.inference import Inferred
from services.query_executor.template.splice import bind
from services.query_executor.template.values import Values
from services.query_executor.template.written import written

__all__ = ["Inferred", "Template", "Values", "bind", "written"]
