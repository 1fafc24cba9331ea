"""The conformance suite in `cp-contracts/vectors/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dp_verifier import LicenseError, LicenseContext, Verifier

VECTORS = Path(__file__).parents[3] / "cp-contracts" / "vectors"
METRICS = ("max_workspaces", "api_calls_per_month", "projects", "seats_extra")


def vectors() -> list[Any]:
    found = []
    for file in sorted(VECTORS.glob("*.json")):
        content = json.loads(file.read_text())
        assert content["format"] == 1
        found += [pytest.param(vector, id=vector["name"]) for vector in content["vectors"]]
    assert len(found) > 300
    return found


def includes(actual: Any, expected: Any) -> bool:
    """Returns whether a value has all expected members."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return all(name in actual and includes(actual[name], expected[name]) for name in expected)
    return type(actual) is type(expected) and actual == expected


def license_outcome(license: LicenseContext) -> dict[str, Any]:
    limits = {metric: license.limit(metric) for metric in METRICS}
    return {
        "state": license.state,
        "license": license.to_dict(),
        "limits": {m: x.kind if x.value is None else x.value for m, x in limits.items()},
        "log_index": license.log_index,
    }


class Run:
    def __init__(self, vector: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        settings = dict(vector["settings"], fixed_time=vector["now"])
        self.state = folder / "state.json"
        if settings.pop("state_file", False):
            settings["state_path"] = self.state
        if "license_file" in settings:
            file = folder / "license.lic"
            file.write_text(settings.pop("license_file"))
            settings["bundle_file"] = file
        self.settings = settings
        self.verifier: Verifier | None = None

    def build(self) -> dict[str, Any]:
        self.verifier = None
        self.verifier = Verifier(**self.settings)
        return {}

    def step(self, step: dict[str, Any]) -> dict[str, Any]:
        if step["do"] == "restart":
            return self.build()
        verifier = self.verifier
        match step["do"]:
            case "set_time":
                self.settings["fixed_time"] = step["now"]
                verifier.set_fixed_time(step["now"])
            case "damage_state_file":
                self.state.write_text("{")
            case "replace_keys":
                verifier.replace_keys(step["jwks"])
            case "import_file":
                verifier.import_file(step["document"])
            case "import_status_list":
                verifier.import_status_list(step["document"])
            case "verify":
                return license_outcome(verifier.verify(step["token"]))
            case "verify_with_proof":
                return license_outcome(verifier.verify_with_proof(step["token"], step["proof"]))
            case "verify_lease":
                if "license_at" in step:
                    license = verifier.verify_at(step["token"], step["license_at"])
                else:
                    license = verifier.verify(step["token"])
                lease = verifier.verify_lease(step["lease"], license, step["holder"])
                expires_at = int(lease.expires_at.timestamp())
                return {"pool": lease.pool, "expires_at": expires_at, "borrowed": lease.borrowed}
            case other:
                raise AssertionError(f"the step {other!r} is not known")
        return {}


def outcome(run: Any) -> dict[str, Any]:
    try:
        return {"ok": True, **run()}
    except LicenseError as error:
        return {"ok": False, "code": error.code}


@pytest.mark.parametrize("vector", vectors())
def test_vector(vector: dict[str, Any], tmp_path: Path) -> None:
    run = Run(vector, tmp_path)
    built = outcome(run.build)
    assert includes(built, vector["build"]), built
    for n, step in enumerate(vector["steps"]):
        result = outcome(lambda: run.step(step))
        assert includes(result, step["expect"]), f"step {n}: {result}, not {step['expect']}"
