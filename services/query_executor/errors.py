"""What can go wrong with a query, in the four codes of the API. Messages never hold a secret or a bound value."""

from collections.abc import Mapping, Sequence

from libs.common.errors import TidemarkError


class QueryError(TidemarkError):
    """`errors` names fields of the request, `details` says what else is safe to know."""

    def __init__(
        self,
        detail: str,
        *,
        errors: Mapping[str, Sequence[str]] | None = None,
        details: Mapping[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail, headers=headers)
        self.errors = {field: list(messages) for field, messages in (errors or {}).items()}
        self.details = dict(details or {})


class QueryValidationError(QueryError):
    """The query or its parameters break a rule; nothing reached a database."""

    status = 400
    code = "QueryValidationError"


class SecretResolutionError(QueryError):
    """A secret is missing or has the wrong type."""

    status = 400
    code = "SecretResolutionError"


class QueryExecutionError(QueryError):
    """The server refused or failed to run the statement."""

    status = 422
    code = "QueryExecutionError"


class QueryTimeout(QueryExecutionError):
    """The statement took longer than allowed; it was stopped on the server."""

    status = 504


class ConnectorError(QueryError):
    """The server cannot be reached or does not let us in."""

    status = 502
    code = "ConnectorError"


def invalid(field: str, message: str) -> QueryValidationError:
    """A rule that one field breaks."""
    return QueryValidationError(message, errors={field: [message]})


# The words are the specification's ("Common Setup Errors").
class SecretNotFound(SecretResolutionError):
    """The app has no secret with this key."""

    def __init__(self, field: str = "secret_key") -> None:
        super().__init__(
            "Secret not found", errors={field: ["Secret not found"]}, details=_solved("Create the secret.")
        )


class SecretTypeNotFound(SecretResolutionError):
    """The tenant lacks the row of the secret's type."""

    def __init__(self, field: str = "secret_key") -> None:
        solution = "Create the type, or ask the operator to seed the tenant's types again."
        message = "Secret type not found"
        super().__init__(message, errors={field: [message]}, details=_solved(solution))


class UnsupportedDatasource(SecretResolutionError):
    """The secret's type does not open connections: its slug does not begin with `analytics-`."""

    def __init__(self) -> None:
        message = "Unsupported analytics datasource"
        solution = "Use a secret of a type such as analytics-postgres, not postgres."
        super().__init__(message, errors={"secret_key": [message]}, details=_solved(solution))


class DriverNotSupported(SecretResolutionError):
    """An `analytics-…` type that no driver serves."""

    def __init__(self) -> None:
        message = "Driver not supported"
        solution = "Use analytics-postgres, -mysql, -redshift, -elasticsearch or -clickhouse."
        super().__init__(message, errors={"secret_key": [message]}, details=_solved(solution))


class TenantSchemaRequired(QueryValidationError):
    """An internal query is run by a token that names no tenant."""

    def __init__(self) -> None:
        super().__init__("Tenant schema required", details=_solved("Call the API with a token that names a tenant."))


def _solved(solution: str) -> dict[str, object]:
    return {"solution": solution}
