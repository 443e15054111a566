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
