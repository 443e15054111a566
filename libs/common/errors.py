"""Errors that know their HTTP status. A subclass states a fact; its message names the field and the fix."""

from typing import ClassVar


class TidemarkError(Exception):
    """Base of every error that a client may see. `detail` is safe to show: it never holds a secret."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **extra: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


class BadRequest(TidemarkError):
    status = 400
    code = "bad_request"


class Unauthorized(TidemarkError):
    status = 401
    code = "unauthorized"


class Forbidden(TidemarkError):
    status = 403
    code = "forbidden"


class NotFound(TidemarkError):
    status = 404
    code = "not_found"


class Conflict(TidemarkError):
    status = 409
    code = "conflict"


class TooLarge(TidemarkError):
    status = 413
    code = "too_large"


class UnsupportedMedia(TidemarkError):
    status = 415
    code = "unsupported_media"


class Unprocessable(TidemarkError):
    status = 422
    code = "unprocessable"


class TooManyRequests(TidemarkError):
    """More at once than is taken: the answer carries Retry-After."""

    status = 429
    code = "too_many_requests"

    def __init__(self, detail: str, *, retry_after: int = 1, **extra: object) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **extra)


class BadGateway(TidemarkError):
    """A system that we depend on on the user's behalf (a warehouse, a BI tool) failed."""

    status = 502
    code = "bad_gateway"


class Unavailable(TidemarkError):
    """Try again: the answer carries Retry-After."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str, *, retry_after: int = 1, **extra: object) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **extra)
