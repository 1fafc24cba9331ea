"""The Pydantic models of the contract, with the golden documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dp_verifier import contract

GOLDEN = Path(__file__).parents[3] / "cp-contracts" / "golden" / "2.11.0"
MODELS = {
    "check_in": contract.CheckIn,
    "event": contract.Event,
    "jwks": contract.JwkSet,
    "lease": contract.Lease,
    "lease_claims": contract.LeaseClaims,
    "license_bundle": contract.LicenseBundleResponse,
    "license_claims": contract.DeploymentLicenseClaims,
    "license_claims_later": contract.DeploymentLicenseClaims,
    "license_file": contract.LicenseFileClaims,
    "problem": contract.Problem,
    "status_list_claims": contract.StatusListClaims,
    "usage_report": contract.UsageReport,
    "validation": contract.Validation,
    "webhook": contract.WebhookPayload,
    "whoami_v1": contract.WhoAmIResponseV1,
    "whoami_v2": contract.WhoAmIResponseV2,
}


@pytest.mark.parametrize("name", MODELS)
def test_golden_document_is_read_and_kept(name):
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    model = MODELS[name].model_validate(document)
    written = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written.keys() == document.keys()


def test_claims_of_a_license_are_those_of_the_contract(verifier, token):
    license = verifier.verify(token)
    claims = contract.DeploymentLicenseClaims.model_validate(license.claims)
    assert claims.license.license_id == license.license_id
    assert claims.license.limits["api_calls_per_month"] is None
