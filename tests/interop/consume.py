"""What a data plane does, with the models of one published version of the contract."""

import json
import sys

import jwt
import odcp_contracts

from authority import Authority

version, url, bundle_file = sys.argv[1:]
cp = Authority(url)
with open(bundle_file) as file:
    bundle = json.load(file)

# The token, against the live keys, as PyJWT checks it.
keys = jwt.PyJWKClient(url + "/.well-known/jwks.json")
token = bundle["token"]
payload = jwt.decode(
    token,
    keys.get_signing_key_from_jwt(token).key,
    algorithms=["RS256"],
    audience="data-plane",
    issuer="http://127.0.0.1:8801",
    options={"require": ["exp", "nbf", "iat", "iss", "aud", "sub", "jti"]},
)
assert payload == bundle["payload"], "the decoded claims are those of the token"

claims = odcp_contracts.DeploymentLicenseClaims.model_validate(payload)
license = claims.license
assert license.seat_cap == 3 and license.features["max_workspaces"] == 7
assert license.features["sso"] == {"saml": True, "providers": ["okta"]}
assert license.organization.name == "Müller & Söhne" and license.organization.slug == "muller-sohne"
assert license.deployment.type == "onprem" and license.deployment.id == claims.sub
assert license.subscription.status == "trialing" and license.subscription.ends_at.year == 2100
assert license.plan.code == "team" and license.plan.default_features["max_workspaces"] == 10

# Who a person is, in the form of this version.
asked = "/users/whoami?provider=auth0&subject=auth0%7Canna"
if version.startswith("0."):
    answer = odcp_contracts.WhoAmIResponse.model_validate(cp.get(asked))
    (membership,) = answer.memberships
    assert membership.status == "ACTIVE" and membership.role.code == "WORKSPACE_OWNER"
    assert membership.role.is_system and membership.workspace_slug == "production"
else:
    answer = odcp_contracts.WhoAmIResponse.model_validate(
        cp.get(asked, {"Contracts-Version": version})
    )
    (workspace,) = answer.workspaces
    assert workspace.role.code == "WORKSPACE_OWNER" and "org:read" in workspace.permissions
    assert answer.rbac_revision == {workspace.workspace_id: workspace.rbac_revision}
    (organization,) = answer.organizations
    assert organization.role.code == "ORGANIZATION_OWNER"
assert answer.user.email == "anna@example.com" and answer.user.is_active
print(f"odcp-contracts {version}: token and whoami are read")
