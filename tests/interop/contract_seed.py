"""Fills an authority with one of everything, and spares for what deletes, so that the contract fuzz
gets beyond 404; prints the ids by the collection that they are in."""

import json
import sys

from authority import Authority

SPARES = 6

cp = Authority(sys.argv[1])
ids = {}


def made(collection, path, body, key="id"):
    thing = cp.post(path, body)
    ids.setdefault(collection, []).append(thing[key])
    return thing


user = made("users", "/users", {"email": "anna@example.com", "display_name": "Anna"})
cp.post(f"/users/{user['id']}/auth-accounts", {"provider": "auth0", "subject": "auth0|anna"})
org = cp.post(
    "/organizations",
    {"name": "Acme", "slug": "acme", "plan_code": "enterprise", "owner_user_id": user["id"]},
)
org_path = f"/organizations/{org['id']}"
ids["organizations"] = [org["id"], "acme"]
ids["plans"] = ["team", "free"]
subscription = made("subscriptions", org_path + "/subscriptions", {"plan_code": "team"}) if (
    not cp.get(org_path + "/subscriptions")["items"]
) else cp.get(org_path + "/subscriptions")["items"][0]
ids["subscriptions"] = [subscription["id"]]

for n in range(SPARES):
    person = made("users", "/users", {"email": f"person-{n}@example.com", "display_name": "P"})
    account = {"provider": "auth0", "subject": f"auth0|{n}"}
    made("auth-accounts", f"/users/{person['id']}/auth-accounts", account)
    made("memberships", org_path + "/memberships", {"user_id": person["id"], "role": "viewer"})
    workspace = made("workspaces", org_path + "/workspaces", {"name": f"Workspace {n}"})
    made("roles", org_path + "/roles", {"code": f"ROLE_{n}", "name": "R", "scope": "workspace"})
    group = made("groups", org_path + "/groups", {"name": f"Group {n}"})
    cp.call("PUT", f"/groups/{group['id']}/members/{person['id']}", {"role": "member"})
    project = made("projects", org_path + "/projects", {"name": f"Project {n}"})
    cp.call("PUT", f"/projects/{project['id']}/groups/{group['id']}", {"role": "member"})
    artifact = {"run_id": f"run-{n}", "step_id": "build", "type": "log", "path": "a.log"}
    made("artifacts", f"/projects/{project['id']}/artifacts", artifact)
    invitation = {"email": f"guest-{n}@example.com", "role": "viewer"}
    made("invitations", org_path + "/invitations", invitation)
    deployment = made("deployments", org_path + "/deployments", {"name": f"d{n}", "type": "cloud"})
    license = made(
        "licenses",
        f"/deployments/{deployment['id']}/licenses",
        {"subscription_id": subscription["id"]},
    )
    bundle = made("bundles", f"/licenses/{license['id']}/bundles", {}, key="jti")
    made("usage", org_path + "/usage", {"metric": "calls", "quantity": 1})
    limit = {"metric": f"calls-{n}", "quantity": 100}
    limits = cp.call("PUT", org_path + "/limits", limit)
    ids.setdefault("limits", []).append(limits["id"])
    token = {"name": f"token {n}", "permissions": ["org:read"]}
    made("service-tokens", org_path + "/service-tokens", token)
    cp.call("PUT", org_path + f"/secret-refs/ref-{n}", {"provider": "vault", "ref": "kv/a#b"})
    ids.setdefault("secret-refs", []).append(f"ref-{n}")
    provider = {"type": "saml", "issuer": "https://login.example.com", "client_secret": "s3cret"}
    cp.call("PUT", org_path + f"/identity-providers/saml-{n}", provider)
    ids.setdefault("identity-providers", []).append(f"saml-{n}")
    report = {
        "kind": "usage_report", "deployment_id": deployment["id"], "license_id": license["id"],
        "sequence": 1, "previous": None, "since": "2026-01-01T00:00:00Z",
        "until": "2026-01-02T00:00:00Z", "counters": {"seats": 1}, "contract": "2.7.0",
    }
    reports = f"/deployments/{deployment['id']}/usage-reports"
    made("usage-reports", reports, {"file": json.dumps(report)})
    ids["quotas"] = ["storage_bytes", "requests_per_minute"]
ids["members"] = ids["users"][1:]
ids["keys"] = [key["kid"] for key in cp.get("/signing/keys")["items"]]
ids["problems"] = ["in_use"]
uri = bundle["payload"]["status"]["status_list"]["uri"]
ids["status-lists"] = [uri.rsplit("/", 1)[1]]
json.dump(ids, sys.stdout)
