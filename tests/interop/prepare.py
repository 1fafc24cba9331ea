"""Makes a customer with every optional part filled in, and prints a license bundle."""

import json
import sys

from authority import Authority

cp = Authority(sys.argv[1])
user = cp.post("/users", {"email": "anna@example.com", "display_name": "Anna"})
cp.post(f"/users/{user['id']}/auth-accounts", {"provider": "auth0", "subject": "auth0|anna"})
org = cp.post(
    "/organizations",
    {"name": "Müller & Söhne", "owner_user_id": user["id"], "external_id": "crm-7"},
)
org_path = f"/organizations/{org['id']}"
workspace = cp.post(org_path + "/workspaces", {"name": "Production"})
cp.post(f"/workspaces/{workspace['id']}/memberships", {"user_id": user["id"], "role": "owner"})
subscription = cp.post(
    org_path + "/subscriptions",
    {
        "plan_code": "team",
        "ends_at": "2100-01-01T00:00:00Z",
        "trial_ends_at": "2099-01-01T00:00:00Z",
        "external_id": "sub_1",
        "feature_overrides": {"sso": {"saml": True, "providers": ["okta"]}},
    },
)
deployment = cp.post(
    org_path + "/deployments",
    {
        "name": "main",
        "type": "onprem",
        "region": "eu",
        "api_base_url": "https://dp.example.com",
    },
)
license = cp.post(
    f"/deployments/{deployment['id']}/licenses",
    {"subscription_id": subscription["id"], "seat_cap": 3, "features": {"max_workspaces": 7}},
)
json.dump(cp.post(f"/licenses/{license['id']}/bundles", {}), sys.stdout)
