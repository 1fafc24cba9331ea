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


@pytest.fixture(scope="session")
def genuine() -> dict[str, Any]:
    vectors = json.loads((ROOT / "cp-contracts/vectors/forms.json").read_text())["vectors"]
    return next(vector for vector in vectors if vector["name"] == "genuine_token_is_admitted")


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

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    server = ControlPlane()
    yield server
    if server.process.returncode is None:
        server.stop()
