"""A FastAPI dependency with the license of a request.

```python
license = LicenseDependency(verifier)
license.install(app)  # problem documents for refusals

@app.get("/exports")
async def exports(license: Annotated[LicenseContext, Depends(license.feature("exports_enabled"))]): ...
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ._native import LicenseContext, Verifier
from .asgi import license_of, token_of
from .errors import LicenseError, NotEntitled, VerifyError

__all__ = ["LicenseDependency", "problem_response"]


async def problem_response(_request: Request, error: Exception) -> JSONResponse:
    """Returns the problem document (RFC 9457) of a refusal."""
    assert isinstance(error, LicenseError)
    return JSONResponse(
        error.problem(), error.http_status, media_type="application/problem+json"
    )


class LicenseDependency:
    """Returns the `LicenseContext` of a request, or raises `VerifyError`."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier = verifier

    async def __call__(self, request: Request) -> LicenseContext:
        token = token_of(request.scope["headers"], self.verifier)
        return await license_of(self.verifier, token)

    def feature(self, name: str) -> Callable[[Request], Awaitable[LicenseContext]]:
        """Returns a dependency that also requires an enabled feature."""

        async def licensed(request: Request) -> LicenseContext:
            license = await self(request)
            license.require_feature(name)
            return license

        return licensed

    @staticmethod
    def install(app: FastAPI) -> None:
        """Makes an app answer refusals with problem documents."""
        app.add_exception_handler(VerifyError, problem_response)
        app.add_exception_handler(NotEntitled, problem_response)
