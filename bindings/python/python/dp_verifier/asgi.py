"""An ASGI middleware that admits requests with a valid license token."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ._native import LicenseContext, Verifier
from .errors import LicenseError, VerifyError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: The header with the token of a request.
HEADER = "x-license-token"


def token_of(headers: Iterable[tuple[bytes, bytes]], verifier: Verifier) -> str:
    """Returns the token of a request: the header, else `LICENSE_TOKEN`, else the verifier's own."""
    found = [value for name, value in headers if name.lower() == HEADER.encode()]
    if len(found) > 1:
        raise VerifyError("token_malformed", "the request has several license tokens", 401)
    if found:
        return found[0].decode("latin-1").strip()
    return os.environ.get("LICENSE_TOKEN", "").strip() or verifier.current_token or ""


async def license_of(verifier: Verifier, token: str) -> LicenseContext:
    """Checks a token. Waits for its first status list, on another thread and only if needed."""
    try:
        license = verifier.verify(token)
    except VerifyError as refused:
        if refused.code not in ("status_stale", "proof_missing"):
            raise
    else:
        if license.state != "stale":
            return license
    await asyncio.to_thread(verifier.wait_for_status, token)
    return verifier.verify(token)


class LicenseMiddleware:
    """Refuses requests without a valid license, with a problem document (RFC 9457).

    The application finds the `LicenseContext` in `scope["state"]["license"]`, which is
    `request.state.license` in Starlette and FastAPI. Paths in `exempt` need no license.
    """

    def __init__(self, app: App, verifier: Verifier, exempt: Iterable[str] = ()) -> None:
        self.app = app
        self.verifier = verifier
        self.exempt = frozenset(exempt)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self.exempt:
            await self.app(scope, receive, send)
            return
        try:
            token = token_of(scope["headers"], self.verifier)
            license = await license_of(self.verifier, token)
        except LicenseError as refused:
            await self._refuse(scope, receive, send, refused)
            return
        scope.setdefault("state", {})["license"] = license
        await self.app(scope, receive, send)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, refused: LicenseError
    ) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": refused.code})
            return
        body = json.dumps(refused.problem()).encode()
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send(
            {"type": "http.response.start", "status": refused.http_status, "headers": headers}
        )
        await send({"type": "http.response.body", "body": body})
