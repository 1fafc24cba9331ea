//! The 98 endpoints of the control plane for products that this server replaces, and the operations
//! that serve them. No path or name is the same: the table maps functions.

/// The numbers of the endpoints, and the operations that serve them. `O` is `/organizations/{org}`.
const ENDPOINTS: [(&str, &[&str]); 34] = [
    ("1", &["GET /me"]),
    ("2-5", &["POST /organizations", "GET /organizations", "GET O", "PATCH O"]),
    ("6", &["PATCH O"]),
    ("7", &["DELETE O"]),
    (
        "8-11",
        &[
            "GET O/memberships",
            "POST O/memberships",
            "PATCH /memberships/{id}",
            "DELETE /memberships/{id}",
            "POST O/users",
            "PATCH /users/{id}",
        ],
    ),
    (
        "12-14",
        &[
            "PUT O/identity-providers/{key}",
            "GET O/identity-providers/{key}",
            "DELETE O/identity-providers/{key}",
        ],
    ),
    ("15-18", &["GET O/entitlements", "PATCH O/entitlements"]),
    ("19", &["GET /me", "GET /identity-providers"]),
    ("20-21", &["GET O/identity-providers/{key}", "PUT O/identity-providers/{key}"]),
    ("22-23", &["POST O/identity-providers/{key}/provision"]),
    ("24", &["GET O/identity-providers/{key}/provision"]),
    ("25-27", &["POST O/identity-providers/{key}/provision"]),
    ("28-31 34-37", &["GET O/groups", "POST O/groups"]),
    ("32-33 38-39", &["GET O/users", "POST O/users"]),
    ("40", &["PUT O/budgets/{product}"]),
    ("41-42", &["GET /budgets", "GET O/budgets/{product}"]),
    (
        "43-45",
        &[
            "POST O/budgets/{product}/cycles",
            "GET O/budgets/{product}",
            "PATCH /budget-cycles/{id}",
        ],
    ),
    ("46-47", &["PUT O/budgets/{product}/allocations", "DELETE O/budgets/{product}/allocations"]),
    ("48-49", &["POST O/budgets/{product}/distribute", "PUT O/budgets/{product}/allocations"]),
    ("50-52", &["GET O/budgets/{product}/allocations"]),
    ("53 98", &["GET O/usage/costs"]),
    ("54-58 62-66 72-76 87-88 93-96", RESOURCES),
    ("59-61 90-92", BINDINGS),
    ("67 78-79 81-82 84-85", &["GET O/bindings", "PUT O/bindings"]),
    ("68-71", RESOURCES),
    ("77 80 83 86", &["GET O/effective"]),
    ("89", &["GET O/marketplace"]),
    ("97", &["GET O/audit"]),
    // The eight that the list omits.
    ("99-101", &["GET /resources", "POST O/resources", "PATCH /resources/{id}"]),
    ("102", &["GET /onboarding"]),
    ("103", &["PUT /onboarding"]),
    ("104", &["POST O/usage"]),
    ("105", &["POST O/budgets/{product}/cycles"]),
    ("106", &["GET O/budgets/{product}/cycles"]),
];

const RESOURCES: &[&str] = &[
    "GET O/resources",
    "POST O/resources",
    "GET /resources/{id}",
    "PATCH /resources/{id}",
    "DELETE /resources/{id}",
];
const BINDINGS: &[&str] =
    &["GET O/bindings", "PUT O/bindings", "DELETE O/bindings", "POST O/bindings/replace"];

#[test]
fn every_endpoint_has_its_operation() {
    let table = cp_server::operations().table;
    let is_built = |operation: &str| {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path
            .strip_prefix('O')
            .map_or_else(|| path.to_owned(), |rest| format!("/organizations/{{org}}{rest}"));
        table.iter().any(|line| line.method.as_str() == method && line.path == path)
    };
    for (numbers, operations) in ENDPOINTS {
        for operation in operations.iter() {
            assert!(is_built(operation), "{numbers}: {operation}");
        }
    }
}

#[test]
fn every_endpoint_is_in_the_table_once() {
    let mut numbers: Vec<u32> = Vec::new();
    for (ranges, _) in ENDPOINTS {
        for range in ranges.split(' ') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            numbers.extend(first.parse::<u32>().unwrap()..=last.parse().unwrap());
        }
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=106).collect::<Vec<_>>());
}
