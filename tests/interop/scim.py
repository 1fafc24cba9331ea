"""A published conformance client of SCIM, scim2-tester, against the real server."""

import sys

from authority import Authority
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

cp = Authority(sys.argv[1])
owner = cp.post("/users", {"email": "owner@scim.example"})
# The members of this plan are unlimited.
org = cp.post(
    "/organizations",
    {"name": "SCIM", "owner_user_id": owner["id"], "plan_code": "enterprise"},
)
path = f"/organizations/{org['id']}"
# Those that docs/scim.md names.
reads = (
    "artifacts members org projects runs settings budgets deployments effective groups licenses "
    "limits plans providers roles secrets subscriptions usage workspaces"
)
permissions = ["members:provision", *(f"{name}:read" for name in reads.split())]
token = cp.post(path + "/service-tokens", {"name": "scim", "permissions": permissions})

http = Client(
    base_url=f"{cp.base}{path}/scim/v2/",
    headers={"Authorization": "Bearer " + token["token"]},
    timeout=30,
)
results = check_server(SyncSCIMClient(http))
counts = {}
for result in results:
    # The server has no `.search`, which RFC 7644 leaves to servers. Its users always have `active`, and
    # it adds the `display` of members, which the client compares with what it sent.
    reason = str(result.reason)
    is_known = (
        result.title.startswith("search_")
        or reason.endswith("did not remove attribute 'active'")
        or reason.startswith("Attribute 'members' was not") and "display=None" in reason
    )
    if is_known:
        continue
    counts[result.status.name] = counts.get(result.status.name, 0) + 1
    if result.status not in (Status.SUCCESS, Status.COMPLIANT, Status.ACCEPTABLE):
        print(result.status.name, result.resource_type, result.title, result.reason)
print("scim2-tester:", counts)
bad = sum(counts.get(name, 0) for name in ("ERROR", "CRITICAL", "DEVIATION"))
# The owner alone stays: the client has deleted what it created.
left = cp.get(path + "/memberships")["items"]
if bad or counts.get("SUCCESS", 0) < 30 or len(left) != 1:
    sys.exit(f"scim2-tester: {counts}, {len(left)} members left")
