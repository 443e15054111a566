"""Bodies of validations and of versions."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from services.query_executor.domain import ConnectionType, shown_path
from services.query_executor.preparation import Checked
from services.query_executor.schemas import Answer, Body, QueryText
from services.query_executor.template import Inferred
from services.query_executor.template.parameters import Declared, ParameterType

Params = Annotated[dict[str, Any] | None, Field(description="Those of a call, to be checked too.")]


class Text(Body):
    """What would be saved."""

    connection_type: ConnectionType = "external"
    secret_key: Annotated[str | None, Field(max_length=128)] = None
    query_text: QueryText
    parameters: Annotated[list[dict[str, Any]], Field(max_length=100, default_factory=list)]
    params: Params = None


class Call(Body):
    params: Params = None


class ParameterOut(BaseModel):
    """A parameter as it is declared, or as the template uses it."""

    name: str
    type: ParameterType
    required: bool
    default: Any = None
    options: list[Any] = []
    declared: bool

    @classmethod
    def of(cls, name: str, declared: Declared | None, used: Inferred | None) -> "ParameterOut":
        if declared is None:
            assert used is not None
            kind = ParameterType.LIST if used.in_list else ParameterType.TEXT
            return cls(name=name, type=kind, required=not used.optional, declared=False)
        return cls(
            name=name,
            type=declared.type,
            required=declared.required and declared.default is None,
            default=declared.default,
            options=list(declared.options),
            declared=True,
        )


class Validated(BaseModel):
    """What is known of a query that is proved."""

    parameters: list[ParameterOut]
    secrets: Annotated[list[str], Field(description="References to secrets and to the profile.")]
    tables: Annotated[list[str], Field(description="Tables that it reads.")]
    returns_rows: Annotated[bool, Field(description="False for EXPLAIN, SHOW and DESCRIBE.")]

    @classmethod
    def of(cls, checked: Checked) -> "Validated":
        used = {each.name: each for each in checked.template.parameters}
        declared = {each.name: each for each in checked.declared}
        return cls(
            parameters=[
                ParameterOut.of(name, declared.get(name), used.get(name)) for name in dict.fromkeys((*declared, *used))
            ],
            secrets=sorted(shown_path(path) for path in checked.template.secret_paths),
            tables=sorted({".".join(table) for table in checked.proof.tables}),
            returns_rows=checked.proof.returns_rows,
        )


class VersionOut(Answer):
    """What a query said; `created_by` is null for those of before authors were kept."""

    version: int
    connection_type: ConnectionType
    secret_key: str | None
    query_text: str
    parameters: list[dict[str, Any]]
    created_at: datetime
    created_by: str | None
