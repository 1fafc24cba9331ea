"""The objects of the package."""

from __future__ import annotations

import pickle
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest

from dp_verifier import (
    FetchError,
    LeaseError,
    LicenseError,
    NotEntitled,
    SettingsError,
    Verifier,
    VerifyError,
)

HOLDER = {"id": "session-1"}


def test_license_has_typed_properties(verifier, token, genuine):
    license = verifier.verify(token)
    assert license.state == "valid"
    assert license.license_id == UUID("018f2a00-0000-7000-8000-000000000001")
    assert license.expires_at == datetime(2026, 1, 31, tzinfo=timezone.utc)
    assert license.expires_at - license.issued_at == timedelta(days=30)
    assert license.organization["slug"] == "acme"
    assert license.seat_cap == 50
    assert license.feature("max_workspaces") == 10
    assert license.has_feature("alerts_enabled") and not license.has_feature("exports_enabled")
    assert license.claims["aud"] == "data-plane"
    assert license == verifier.verify(token)
    assert token not in repr(license)
    assert verifier.state_of(license) == "valid"
    verifier.set_fixed_time(genuine["now"] + 86_400 * 60)
    assert verifier.state_of(license) == "expired"


def test_limits_distinguish_unlimited_from_not_included(verifier, token):
    license = verifier.verify(token)
    at_most = license.limit("max_workspaces")
    assert (at_most.kind, at_most.value) == ("at_most", 10)
    assert at_most.allows_another(9) and not at_most.allows_another(10)
    assert license.limit("projects").kind == "not_included"
    assert not license.limit("projects").allows_another(0)


def test_missing_entitlement_is_an_error(verifier, token):
    license = verifier.verify(token)
    license.require_feature("alerts_enabled")
    license.require_another("max_workspaces", 9)
    license.require_state("valid", "expiring")
    for require, code in [
        (lambda: license.require_feature("exports_enabled"), "feature_not_included"),
        (lambda: license.require_another("max_workspaces", 10), "limit_reached"),
        (lambda: license.require_state("grace"), "license_state_insufficient"),
    ]:
        with pytest.raises(NotEntitled) as refused:
            require()
        assert (refused.value.code, refused.value.http_status) == (code, 403)
    with pytest.raises(ValueError):
        license.require_state("fine")


def test_refusal_has_a_code_and_advice(verifier, token):
    with pytest.raises(VerifyError) as refused:
        verifier.verify(token + "=")
    error = refused.value
    assert (error.code, error.http_status, error.state) == ("token_malformed", 401, None)
    assert error.advice.startswith("Copy the token again")
    assert isinstance(error, LicenseError) and str(error).startswith("token_malformed: ")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.detail, copy.advice) == (error.code, error.detail, error.advice)
    assert error.problem()["status"] == 401
    with pytest.raises(VerifyError) as expired:
        verifier.verify_at(token, 2_000_000_000)
    assert expired.value.state == "expired"


def test_invalid_setting_is_named_and_not_quoted():
    with pytest.raises(SettingsError, match="unknown field `isuer`"):
        Verifier(isuer="x")
    with pytest.raises(SettingsError) as refused:
        Verifier(issuer="x", audience="y", jwks={"keys": []}, leeway="s3cr3t")
    assert refused.value.code == "settings_invalid"
    assert "s3cr3t" not in str(refused.value)
    with pytest.raises(SettingsError, match="only one of"):
        Verifier(issuer="x", audience="y", jwks={"keys": []}, jwks_file="z")
    with pytest.raises(TypeError):
        Verifier("x")


def test_setting_of_none_counts_as_absent(genuine, token, tmp_path: Path):
    settings = dict(genuine["settings"], fixed_time=genuine["now"], jwks_url=None, log_key=None)
    verifier = Verifier(**settings, state_path=tmp_path / "state.json")
    assert verifier.verify(token).state == "valid"
    assert (tmp_path / "state.json").exists()


def test_threads_share_a_verifier(verifier, token):
    failures = []

    def check():
        for _ in range(500):
            if verifier.verify(token).state != "valid":
                failures.append(token)

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert verifier.health()["cache"]["hits"] >= 3_990


def test_keys_come_from_a_url(control_plane, genuine, token, tmp_path: Path):
    settings = {k: v for k, v in genuine["settings"].items() if k != "jwks"}
    settings |= {"fixed_time": genuine["now"], "jwks_store": tmp_path / "keys.json"}
    settings["jwks_url"] = f"{control_plane.url}/jwks.json"
    verifier = Verifier(**settings)
    assert verifier.verify(token).state == "valid"
    assert verifier.health()["keys"]["last_error"] is None
    control_plane.stop()
    restarted = Verifier(**settings)
    assert restarted.verify(token).state == "valid"
    with pytest.raises(FetchError) as failed:
        restarted.refresh()
    assert failed.value.code == "fetch_failed"


def checking_in(control_plane, genuine) -> Verifier:
    url = f"{control_plane.url}/api/v1/deployments/018f2a00-0000-7000-8000-000000000003/check-in"
    check_in = {"url": url, "credential": "cpat_token"}
    return Verifier(**genuine["settings"], fixed_time=genuine["now"], check_in=check_in)


def test_check_in_brings_the_own_token(control_plane, genuine, token):
    verifier = checking_in(control_plane, genuine)
    assert verifier.current().state == "valid"
    assert verifier.current_token == token
    verifier.check_in()
    assert verifier.health()["check_in"]["code"] == "valid"


def test_lease_ends_waits_and_names_refusals(control_plane, genuine):
    verifier = checking_in(control_plane, genuine)
    with pytest.raises(SettingsError, match="either `credential` or `license_key`"):
        verifier.leases()
    with pytest.raises(LeaseError) as refused:
        verifier.leases(license_key="IMPORTED-7").acquire("refuse-ok", HOLDER)
    assert (refused.value.code, refused.value.http_status) == ("ok", 409)
    lease = verifier.leases("cpat_token").acquire("seats", HOLDER)
    assert not lease.wait_until_lost(0.05)
    waiting = threading.Thread(target=lease.wait_until_lost)
    waiting.start()
    with pytest.raises(SettingsError, match="`seconds` must be at least 0"):
        lease.borrow(-1)
    assert lease.borrow(3_600) == "lease-token"
    assert (lease.state, lease.to_dict()["refusal"]) == ("borrowed", None)
    lease.release()
    waiting.join(10)
    assert not waiting.is_alive() and lease.wait_until_lost()
    with pytest.raises(SettingsError, match="`timeout`"):
        lease.wait_until_lost(-1)


def test_readiness_has_codes_and_ages_only(control_plane, genuine):
    readiness = checking_in(control_plane, genuine).readiness()
    assert (readiness["ready"], readiness["reasons"], readiness["http_status"]) == (True, [], 200)
    assert readiness["license"]["state"] == "valid"
    assert control_plane.url not in str(readiness)


def test_lease_is_held_and_released(control_plane, genuine):
    seats = checking_in(control_plane, genuine).leases("cpat_token")
    with seats.acquire("seats", HOLDER, label="first") as first:
        assert first.state == "held"
        assert first.to_dict()["lease"]["label"] == "first"
        second = seats.acquire("seats", {"text": "machine-2"})
        with pytest.raises(LeaseError) as refused:
            seats.acquire("seats", {"email": "ada@example.com"})
        assert (refused.value.code, refused.value.http_status) == ("seats_exhausted", 409)
        second.keep()
        assert second.state == "released"
    assert first.state == "released"
    seats.send_heartbeats()
    assert seats.take_usage()["seats"]["peak"] == 2
    with pytest.raises(SettingsError, match="`holder`"):
        seats.acquire("seats", {"name": "x"})
