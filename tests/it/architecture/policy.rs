//! Who may do what, as one page that changes with the rights of any caller.

use std::fmt::Write;

use cp_server::identity::roles::{self, RoleScope};
use cp_server::kernel::access::areas::{Area, AreaKind};
use cp_server::kernel::access::caller::{Caller, CallerKind, Scope};
use cp_server::kernel::access::ids::{DeploymentId, OrganizationId};
use cp_server::kernel::access::permissions::{Permission, Permissions, Privileges};
use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::access::policy::{Domain, Grant, Location, Verdict, decide};
use cp_server::kernel::http::line::Line;
use uuid::Uuid;

use super::is_current;

const OWN: OrganizationId = OrganizationId(Uuid::from_u128(1));
const AREA: Uuid = Uuid::from_u128(2);

const INTRODUCTION: &str = "\
# Who may do what

Every operation, and the roles that may use it, as the server itself decides it (`kernel/access/policy.rs`).
A test generates this page, and fails when the rights of a role have changed:
`UPDATE=1 cargo test -p tests --test it -- the_committed` writes it.

| role | in short |
| --- | --- |
| superadmin | everything on the platform |
| organization owner | reads everything in the organization; changes people, groups, projects, workspaces, roles and logins |
| organization admin | like the owner, without deletion, export, ownership and logins |
| organization member | reads the organization; creates projects and artifacts |
| organization viewer | reads the organization |
| workspace, project, group roles | the same in one workspace, project or group |
| deployment's token | what a data plane needs: check-ins and tokens, leases, whoami, effective answers, usage, limits |

Only the vendor changes deployments, subscriptions, licenses, usage, limits and billing.

The cells mean:

- **all**: on the whole platform, or in the whole organization of the role.
- **own**: on objects in the caller's own workspace, project, or group with the groups below it. Lists of the
  organization show that part.
- empty: not at all. An object that the caller cannot see looks as if it did not exist (404). On one that it sees, it gets
  a 403.

A service token has the permissions that it names, on the platform or in one organization. A deployment's token has at most
the permissions of the last column. Custom roles and extra permissions of a member add up. No caller grants more than it
holds. Callers of a suspended organization change nothing. Public operations need no credential and have no row.

";

/// The callers of the page: the system roles, highest first, and a data plane.
pub fn callers() -> Vec<(String, Caller)> {
    let mut callers: Vec<_> = roles::of_system().map(person).collect();
    callers.reverse();
    let organization_id = OWN;
    let deployment_id = DeploymentId(AREA);
    let codes = cp_server::identity::service_tokens::DATA_PLANE;
    let permissions = codes.iter().fold(Permissions::NONE, |set, one| set.with(*one));
    let held = Privileges { permissions, ..Privileges::default() };
    let scope = Scope::Deployment { organization_id, deployment_id };
    let data_plane = Caller::machine(AREA, "data plane".into(), scope, held);
    callers.push(("deployment's token".into(), data_plane));
    callers
}

fn person((code, scope, permissions): (&str, RoleScope, Permissions)) -> (String, Caller) {
    let area = |kind| Domain::Area(OWN, Area { kind, id: AREA });
    let on = match scope {
        RoleScope::Platform => Domain::Platform,
        RoleScope::Organization => Domain::Organization(OWN),
        RoleScope::Workspace => area(AreaKind::Workspace),
        RoleScope::Project => area(AreaKind::Project),
        RoleScope::Group => area(AreaKind::Group),
    };
    let given = Privileges { permissions, ..Privileges::default() };
    let grants = [Grant::new(on, given, code)].into();
    let kind = CallerKind::Person;
    (code.to_lowercase().replace('_', " "), Caller { kind, grants, ..Caller::anonymous() })
}

/// The caller's rights on the line: `all`, `own` or none.
pub fn power(caller: &Caller, line: &Line) -> &'static str {
    let may = |at| decide(&caller.grants, at, line.permission) == Verdict::Allowed;
    let of_the_caller = |kind| {
        caller
            .grants
            .iter()
            .any(|grant| matches!(grant.on, Domain::Area(_, area) if area.kind == kind))
    };
    // A machine that reacts for a person asks about another person.
    let is_reaction = line.permission == Permission::EFFECTIVE_READ && !line.reads();
    let within = Location::Within(OWN, &[]);
    let reads_bindings =
        decide(&caller.grants, within, Permission::BINDINGS_READ) == Verdict::Allowed;
    if is_reaction && caller.kind != CallerKind::Person && !reads_bindings {
        return "";
    }
    match line.exposure {
        Exposure::Public => "",
        Exposure::Platform if may(Location::Platform) => "all",
        Exposure::Anywhere if caller.widest_scope(line.permission).is_ok() => "all",
        Exposure::Own if caller.kind == CallerKind::Person => "own",
        Exposure::Organization if may(Location::Within(OWN, &[])) => "all",
        Exposure::Organization if line.throughout => "",
        Exposure::Organization => {
            let areas: Vec<Area> =
                line.areas.iter().map(|kind| Area { kind: *kind, id: AREA }).collect();
            let concerned = line.areas.iter().any(|kind| of_the_caller(*kind));
            if concerned && may(Location::Within(OWN, &areas)) { "own" } else { "" }
        }
        _ => "",
    }
}

fn page() -> String {
    crate::world::operations().published();
    let callers = callers();
    let mut page = INTRODUCTION.to_owned();
    let heads: Vec<&str> = callers.iter().map(|(name, _)| name.as_str()).collect();
    let _ = writeln!(page, "| operation | needs | {} |", heads.join(" | "));
    let _ = writeln!(page, "|{}", " --- |".repeat(heads.len() + 2));
    for line in cp_server::operations().table {
        if line.permission == Permission::PUBLIC {
            continue;
        }
        let cells: Vec<&str> = callers.iter().map(|(_, caller)| power(caller, &line)).collect();
        let _ = writeln!(
            page,
            "| `{} {}` | {} | {} |",
            line.method,
            line.path,
            line.permission.as_str(),
            cells.join(" | ")
        );
    }
    page
}

/// `UPDATE=1 cargo test -p tests --test it -- the_committed` writes it.
#[test]
fn the_committed_matrix_is_current() {
    is_current("docs/policy.md", &page(), "the_committed");
}

/// What only the vendor decides, whatever the roles of an organization become.
#[test]
fn no_role_of_an_organization_reaches_what_is_bought() {
    let vendors = [
        Permission::ORG_CREATE,
        Permission::USERS_WRITE,
        Permission::PLANS_WRITE,
        Permission::SUBSCRIPTIONS_WRITE,
        Permission::LICENSES_WRITE,
        Permission::LICENSES_ISSUE,
        Permission::KEYS_WRITE,
        Permission::LIMITS_WRITE,
        Permission::QUOTAS_WRITE,
        Permission::BILLING_WRITE,
        Permission::USAGE_WRITE,
        Permission::AUDIT_WRITE,
        Permission::ENTITLEMENTS_WRITE,
    ];
    crate::world::operations().published();
    for (code, scope, permissions) in roles::of_system() {
        for permission in vendors {
            let holds = permissions.contains(permission);
            assert_eq!(holds, scope == RoleScope::Platform, "{code} and {}", permission.as_str());
        }
    }
}
