"""Uses the client that openapi-python-client generated: `clients` type-checks and runs this file."""

import os
import sys

from authority_client import AuthenticatedClient
from authority_client.api.organizations import organizations_create
from authority_client.api.plans import plans_list, plans_read
from authority_client.models import NewOrganization, Organization, Plan, PlanPage, Problem

client = AuthenticatedClient(base_url=sys.argv[1], token=os.environ["CP_BOOTSTRAP_TOKEN"])

page = plans_list.sync(client=client)
assert isinstance(page, PlanPage)
codes = [plan.code for plan in page.items]
assert "team" in codes, codes

team = plans_read.sync("team", client=client)
assert isinstance(team, Plan) and team.name == "Team"

made = organizations_create.sync(client=client, body=NewOrganization(name="Generated in Python"))
assert isinstance(made, Organization) and made.slug == "generated-in-python"

missing = plans_read.sync("missing", client=client)
assert isinstance(missing, Problem) and missing.code == "not_found", missing
print("the generated Python client: reads, creates and reads a refusal")
