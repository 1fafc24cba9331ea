"""The FastAPI dependency and the ASGI middleware."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.testclient import TestClient

from dp_verifier import LicenseContext
from dp_verifier.asgi import LicenseMiddleware
from dp_verifier.fastapi import LicenseDependency


@pytest.fixture
def dependency(verifier) -> TestClient:
    app, licensed = FastAPI(), LicenseDependency(verifier)
    licensed.install(app)

    @app.get("/hello")
    async def hello(license: Annotated[LicenseContext, Depends(licensed)]) -> str:
        return license.organization["name"]

    @app.get("/alerts")
    async def alerts(
        license: Annotated[LicenseContext, Depends(licensed.feature("alerts_enabled"))],
    ) -> str:
        return license.state

    @app.get("/exports", dependencies=[Depends(licensed.feature("exports_enabled"))])
    async def exports() -> str:
        return "never"

    return TestClient(app)


@pytest.fixture
def middleware(verifier) -> TestClient:
    app = FastAPI()
    app.add_middleware(LicenseMiddleware, verifier=verifier, exempt=["/healthz"])

    @app.get("/hello")
    async def hello(request: Request) -> str:
        return request.state.license.organization["name"]

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.state.license.state)
        await socket.close()

    @app.get("/healthz")
    async def health() -> str:
        return "ok"

    return TestClient(app)


@pytest.mark.parametrize("kind", ["dependency", "middleware"])
def test_request_needs_a_token(kind, request, token, monkeypatch):
    client = request.getfixturevalue(kind)
    answer = client.get("/hello", headers={"X-License-Token": token})
    assert (answer.status_code, answer.json()) == (200, "Acme GmbH")
    refused = client.get("/hello")
    assert (refused.status_code, refused.json()["code"]) == (401, "token_missing")
    assert refused.headers["content-type"] == "application/problem+json"
    twice = client.get("/hello", headers=[("X-License-Token", token)] * 2)
    assert twice.json()["code"] == "token_malformed"
    monkeypatch.setenv("LICENSE_TOKEN", f"{token}\n")
    assert client.get("/hello").status_code == 200


def test_feature_is_required(dependency, token):
    headers = {"X-License-Token": token}
    assert dependency.get("/alerts", headers=headers).json() == "valid"
    refused = dependency.get("/exports", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "feature_not_included")


def test_exempt_path_needs_no_token(middleware):
    assert middleware.get("/healthz").json() == "ok"


def test_websocket_needs_a_token(middleware, token):
    with middleware.websocket_connect("/stream", headers={"X-License-Token": token}) as socket:
        assert socket.receive_text() == "valid"
    with pytest.raises(WebSocketDisconnect) as refused:
        with middleware.websocket_connect("/stream"):
            pass
    assert (refused.value.code, refused.value.reason) == (1008, "token_missing")
