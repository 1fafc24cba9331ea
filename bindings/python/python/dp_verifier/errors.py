"""The exceptions, each with a stable code."""

from __future__ import annotations

from typing import Any


class LicenseError(Exception):
    """An error with a stable code. The text is safe for logs and never contains a token."""

    #: The code. Match on it, never on the text.
    code: str
    #: The reason in this case.
    detail: str
    #: The HTTP status for the response of a data plane: 401, 403 or 503.
    http_status: int
    #: Advice for the operator of the data plane.
    advice: str | None
    #: The state of a genuine license that is refused.
    state: str | None

    def __init__(
        self,
        code: str,
        detail: str,
        http_status: int = 503,
        advice: str | None = None,
        state: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.http_status = http_status
        self.advice = advice
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.detail, self.http_status, self.advice, self.state)

    def problem(self) -> dict[str, Any]:
        """Returns the problem document (RFC 9457) for the response of a data plane."""
        return {
            "type": "about:blank",
            "title": "The license token is refused.",
            "status": self.http_status,
            "code": self.code,
            "detail": self.detail,
        }


class VerifyError(LicenseError):
    """A refused token, lease token, license file or status list."""


class NotEntitled(LicenseError):
    """A genuine license that does not entitle to an operation."""


class SettingsError(LicenseError, ValueError):
    """Settings or arguments that cannot be used."""


class FetchError(LicenseError):
    """A request for keys, status lists or the log, or a check-in, that failed."""


class LeaseError(LicenseError):
    """A request about a lease that failed, with the code of the control plane."""
