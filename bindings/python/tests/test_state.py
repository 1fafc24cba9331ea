"""The operator's view of a state file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dp_verifier import SettingsError, Verifier, VerifyError
from dp_verifier import accept_log, log_record, reset_state, state_record

from conftest import ROOT


def contradiction() -> dict[str, Any]:
    vectors = json.loads((ROOT / "cp-contracts/vectors/log.json").read_text())["vectors"]
    name = "second_history_of_the_log_is_refused"
    return next(vector for vector in vectors if vector["name"] == name)


def test_operator_accepts_a_log_and_resets_a_state_file(tmp_path: Path):
    state = tmp_path / "state.json"
    for read in (state_record, log_record):
        with pytest.raises(SettingsError, match="there is no state file"):
            read(state)
    vector = contradiction()
    settings = {k: v for k, v in vector["settings"].items() if k != "state_file"}
    verifier = Verifier(**settings, state_path=state, fixed_time=vector["now"])
    proved, first, second, _ = vector["steps"]
    verifier.verify_with_proof(proved["token"], proved["proof"])
    verifier.import_file(first["document"])
    with pytest.raises(VerifyError, match="split_view"):
        verifier.import_file(second["document"])
    health = verifier.health()["log"]
    assert "log_anomaly" in verifier.readiness()["reasons"]
    del verifier
    anomaly = log_record(str(state))["anomaly"]
    assert (anomaly["seen"], anomaly["shown"]) == (health["seen"], health["shown"])
    for change in (accept_log, reset_state):
        with pytest.raises(SettingsError) as refused:
            change(state, " ")
        assert refused.value.code == "argument_invalid"
    assert accept_log(state, "restored")["former"][0]["because"] == "restored"
    assert log_record(state)["anomaly"] is None
    assert state_record(state)["file"]["seq"] > 0
    assert reset_state(state, "a wrong number")["file"] is None
    assert state_record(state)["former"][0]["because"] == "a wrong number"
