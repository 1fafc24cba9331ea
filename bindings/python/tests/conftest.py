"""Fixtures: the genuine token of the vectors, and a control plane on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dp_verifier import Verifier

ROOT = Path(__file__).parents[3]


def genuine_vector() -> dict[str, Any]:
    vectors = json.loads((ROOT / "cp-contracts/vectors/forms.json").read_text())["vectors"]
    return next(vector for vector in vectors if vector["name"] == "genuine_token_is_admitted")


def checking_in_at(url: str, **settings: Any) -> Verifier:
    """Returns a verifier with keys and check-ins from a control plane."""
    own = genuine_vector()
    settings |= {k: v for k, v in own["settings"].items() if k != "jwks"}
    deployment = f"{url}/api/v1/deployments/018f2a00-0000-7000-8000-000000000003"
    check_in = {"url": f"{deployment}/check-in", "credential": "cpat_token"}
    settings |= {"jwks_url": f"{url}/jwks.json", "check_in": check_in}
    return Verifier(**settings, fixed_time=own["now"])


@pytest.fixture(scope="session")
def genuine() -> dict[str, Any]:
    return genuine_vector()


@pytest.fixture
def token(genuine: dict[str, Any]) -> str:
    return genuine["steps"][0]["token"]


@pytest.fixture
def verifier(genuine: dict[str, Any]) -> Verifier:
    return Verifier(**genuine["settings"], fixed_time=genuine["now"])


class ControlPlane:
    """A control plane on loopback."""

    def __init__(self) -> None:
        command = [sys.executable, str(ROOT / "bindings/tests/control_plane.py")]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.url = self.process.stdout.readline().strip()

    def answer_late(self, seconds: float) -> None:
        """Makes all later answers late."""
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        assert float(self.process.stdout.readline()) == seconds

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    server = ControlPlane()
    yield server
    if server.process.returncode is None:
        server.stop()
