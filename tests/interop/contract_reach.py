"""How many operations of the document the contract fuzz got an answer of success from, by the server's
log; fails when they are too few to mean anything."""

import json
import re
import sys

log, document, least = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
seen, statuses = set(), {}
for line in open(log, errors="replace"):
    found = re.search(r'method=(\S+) path="?([^ "]*)"? status=(\d+)', line)
    if found:
        method, path, status = found.groups()
        statuses[status] = statuses.get(status, 0) + 1
        if status[0] in "23":
            seen.add((method, path))
reached, missed = [], []
for path, operations in document["paths"].items():
    # A fixed path beats one with a parameter in its place, as in the router.
    pattern = re.compile(re.sub(r"\\{[^/]*\\}", "[^/]+", re.escape(path)) + "$")
    for method, operation in operations.items():
        known = any(m == method.upper() and pattern.match(p) for m, p in seen)
        (reached if known else missed).append(operation["operationId"])
print("answers:", dict(sorted(statuses.items())))
print(f"{len(reached)} operations succeeded at least once; never: {', '.join(missed)}")
sys.exit(0 if len(reached) >= least else 1)
