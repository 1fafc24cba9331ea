"""Arguments as a faulty application or its users write them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from dp_verifier import LicenseError, SettingsError, Verifier, VerifyError
from dp_verifier.asgi import LicenseMiddleware

UNPAIRED = "a\udcffb"


class Masked:
    """A secret whose string is no secret."""

    def __str__(self) -> str:
        return "*****"


def test_unpaired_surrogate_is_malformed(verifier, token):
    for call in (
        lambda: verifier.verify(UNPAIRED),
        lambda: verifier.verify_at(token + UNPAIRED, 0),
        lambda: verifier.import_file(UNPAIRED),
        lambda: verifier.import_status_list(UNPAIRED),
    ):
        with pytest.raises(VerifyError) as refused:
            call()
        assert refused.value.code == "token_malformed"
    verifier.wait_for_status(UNPAIRED)


def test_variable_that_is_not_utf8_is_refused_with_401(verifier, monkeypatch):
    monkeypatch.setenv("LICENSE_TOKEN", UNPAIRED)
    sent = []

    async def application(*_):
        raise AssertionError("the request has no license")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/", "headers": []}
    asyncio.run(LicenseMiddleware(application, verifier)(scope, None, send))
    assert sent[0]["status"] == 401


def test_null_and_huge_tokens_are_refused(verifier, token):
    for text, code in [
        (token + "\0", "token_malformed"),
        ("a" * (64 << 20), "token_too_large"),
        ("", "token_missing"),
    ]:
        with pytest.raises(VerifyError) as refused:
            verifier.verify(text)
        assert refused.value.code == code
    with pytest.raises(TypeError):
        verifier.verify(token.encode())


def test_string_of_another_object_is_not_used(genuine):
    settings = genuine["settings"]
    for wrong in (
        {"check_in": {"url": "https://cp.example", "credential": Masked()}},
        {"jwks": b"{}"},
        {"state_path": Masked()},
        {"leeway": {1}},
    ):
        with pytest.raises(TypeError, match="an argument cannot be a"):
            Verifier(**(settings | wrong))


def test_path_of_bytes_is_that_path(genuine, tmp_path: Path):
    class Place:
        def __fspath__(self) -> bytes:
            return bytes(tmp_path / "state.json")

    Verifier(**genuine["settings"], state_path=Place())
    assert (tmp_path / "state.json").exists()


def test_values_without_json_are_refused(genuine, verifier, token):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    circle: dict = {}
    circle["id"] = circle
    license = verifier.verify(token)
    seats = verifier.leases("cpat_token")
    for call in (
        lambda: Verifier(**(genuine["settings"] | {"leeway": float("nan")})),
        lambda: Verifier(**(genuine["settings"] | {"jwks": deep})),
        lambda: verifier.replace_keys(deep),
        lambda: verifier.usage_report({"calls": float("inf")}),
        lambda: verifier.verify_lease(token, license, circle),
        lambda: seats.acquire("seats", {"id": "a"}, license=license, ttl=float("nan")),
        lambda: seats.acquire("seats", {"id": "a", "email": "b"}, license=license),
        lambda: license.limit("max_workspaces").allows_another(-1),
        lambda: license.require_another("max_workspaces", -(1 << 90)),
        lambda: license.require_state("fine"),
    ):
        with pytest.raises(SettingsError) as refused:
            call()
        assert refused.value.code == "argument_invalid"
    with pytest.raises(LicenseError, match="limit_reached"):
        license.require_another("max_workspaces", 1 << 90)
    with pytest.raises(TypeError):
        license.limit("max_workspaces").allows_another(1.5)


def test_objects_cannot_be_forged(verifier, token):
    license = verifier.verify(token)
    for kind in (type(license), type(verifier.leases("x")), type(license.limit("x"))):
        with pytest.raises(TypeError):
            kind()
    with pytest.raises((AttributeError, TypeError)):
        license.state = "valid"
    with pytest.raises(TypeError):
        verifier.state_of(object())


def test_process_ends_with_live_objects(control_plane):
    """A process may end while threads wait for the network, and while leases are held."""
    code = f"""
import threading
from conftest import checking_in_at
verifier = checking_in_at({control_plane.url!r})
lease = verifier.leases("cpat_token").acquire("seats", {{"id": "a"}})
threading.Thread(target=lease.wait_until_lost, daemon=True).start()
threading.Thread(target=verifier.refresh, daemon=True).start()
print(lease.state)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
