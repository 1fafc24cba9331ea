//! Callers without the permission are refused, and callers outside an organization cannot detect its ids.

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::access::place::Exposure;
use cp_server::kernel::http::line::Line;
use serde_json::json;

use super::examples::{UNKNOWN_ID, example};
use super::has;
use crate::architecture::policy;
use crate::world::{Answer, Client, World, everything, on_both};

/// The operations without authentication.
const PUBLIC: [&str; 26] = [
    "invitations.accept",
    "sessions.login",
    "sessions.list_providers",
    "sessions.callback",
    "sessions.logout",
    "sessions.logout_everywhere",
    "console_links.use",
    "status_lists.list",
    "status_lists.read",
    "license_keys.validate",
    "keys.jwks",
    "well_known.jwks",
    "log.checkpoint",
    "log.key",
    "log.proof",
    "log.consistency",
    "log.tile",
    "webhook_confirmations.show",
    "webhook_confirmations.confirm",
    "server.healthz",
    "server.readyz",
    "server.metrics",
    "server.openapi",
    "server.docs",
    "server.problems",
    "server.problem",
];

fn guarded() -> impl Iterator<Item = Line> {
    crate::world::operations()
        .table
        .into_iter()
        .filter(|line| line.permission != Permission::PUBLIC)
}

async fn ask(client: &Client, line: &Line, path: &str) -> Answer {
    let body = (line.method != Method::GET).then(|| json!({}));
    client.call(line.method.clone(), path, body).await
}

#[test]
fn exactly_these_lines_are_public() {
    let table = crate::world::operations().table;
    let open =
        |line: &&Line| line.permission == Permission::PUBLIC || line.exposure == Exposure::Public;
    let names: Vec<&str> = table.iter().filter(open).map(|line| line.name).collect();
    assert_eq!(names, PUBLIC);
}

#[on_both]
async fn public_lines_look_at_no_credential(world: World) {
    for line in crate::world::operations().table {
        // What sends a browser on has tests of its own.
        // It links the login that is sent, so a wrong one is refused.
        let reads_it = line.name == "invitations.accept";
        if line.permission == Permission::PUBLIC && !line.status.is_redirection() && !reads_it {
            let example = example(&world, &line);
            // A logout is a page's; it does not look at credentials either.
            let junk = world.by("junk").with("sec-fetch-site", "same-origin");
            let path = world.path_of(&line) + &example.query;
            let answer = junk.call(line.method.clone(), &path, example.body).await;
            assert_eq!(answer.status, line.status.as_u16(), "{}: {}", line.name, answer.text());
        }
    }
}

#[on_both]
async fn a_line_needs_a_valid_credential(world: World) {
    let expired = json!({
        "name": "old", "permissions": everything(), "expires_at": "2026-01-02T00:00:01Z",
    });
    let expired = world.post("/service-tokens", expired).await.expect(201);
    let revoked = world.new_token("", &["*"]).await;
    let id = world.by(&revoked).get("/me").await.expect(200)["id"].clone();
    world.delete(format!("/service-tokens/{}", id.as_str().unwrap())).await.expect(204);
    world.pass(TimeDelta::seconds(1));

    let (anyone, acme) = (world.anyone(), &world.acme.token);
    let bent = acme[..acme.len() - 9].to_owned() + "0" + &acme[acme.len() - 8..];
    let strangers = [
        ("no credential", anyone.clone()),
        ("an expired token", world.by(expired["token"].as_str().unwrap())),
        ("a revoked token", world.by(&revoked)),
        ("junk", world.by("junk")),
        ("a bent token", world.by(&bent)),
        ("a token's id without its secret", world.by(&acme[..37])),
        ("no token at all", world.by("")),
        ("another scheme", anyone.clone().with("authorization", format!("Basic {acme}"))),
        ("an unsigned JWT", world.by("eyJhbGciOiJub25lIn0.e30.")),
    ];
    for line in guarded() {
        for (who, stranger) in &strangers {
            let answer = ask(stranger, &line, &world.path_of(&line)).await;
            assert_eq!(answer.status, 401, "{} with {who}: {}", line.name, answer.text());
            assert_eq!(answer.header("www-authenticate"), "Bearer", "{}", line.name);
            assert!(has(&line, &answer, "code", "unauthenticated"), "{}", line.name);
        }
    }
}

#[on_both]
async fn foreign_and_missing_are_the_same(world: World) {
    // The answers may differ in nothing, so both requests have the same id.
    let foreign = world.by(&world.globex.token).with("x-request-id", "same");
    let mut seen = 0;
    for line in guarded() {
        let path = world.path_of(&line);
        let one_of_an_organization = match line.exposure {
            Exposure::Organization | Exposure::Own => true,
            Exposure::Anywhere => path != world.path_to_unknown(&line),
            Exposure::Platform | Exposure::Public => false,
        };
        if !one_of_an_organization {
            continue;
        }
        let there = ask(&foreign, &line, &path).await;
        let missing = ask(&foreign, &line, &world.path_to_unknown(&line)).await;
        assert_eq!(there.status, 404, "{}: {}", line.name, there.text());
        assert_eq!(there.body, missing.body, "{}", line.name);
        assert_eq!(there.headers, missing.headers, "{}", line.name);
        let malformed = world.path_to_unknown(&line).replace(UNKNOWN_ID, "x%20y");
        let malformed = ask(&foreign, &line, &malformed).await;
        assert_eq!(malformed.body, missing.body, "{}", line.name);
        seen += 1;
    }
    assert!(seen > 40, "only {seen} lines are of an organization");
}

#[on_both]
async fn organization_token_has_no_access_to_the_platform(world: World) {
    for line in guarded().filter(|line| line.exposure == Exposure::Platform) {
        let answer = ask(&world.by(&world.acme.token), &line, &world.path_of(&line)).await;
        answer.refused(403, "forbidden");
    }
}

#[on_both]
async fn a_line_needs_its_permission(world: World) {
    let reach = world.org("");
    for line in guarded().filter(|line| line.permission != Permission::ANY) {
        let others = everything();
        let others: Vec<&str> =
            others.into_iter().filter(|code| *code != line.permission.as_str()).collect();
        let reach = if line.exposure == Exposure::Platform { "" } else { &reach };
        let caller = world.by(&world.new_token(reach, &others).await);
        let answer = ask(&caller, &line, &world.path_of(&line)).await;
        assert_eq!(answer.status, 403, "{}: {}", line.name, answer.text());
        for (member, value) in [("code", "forbidden"), ("permission", line.permission.as_str())] {
            assert!(has(&line, &answer, member, value), "{}: {}", line.name, answer.text());
        }
    }
}

#[on_both]
async fn deployment_token_has_the_rights_of_the_policy_page(world: World) {
    let (_, data_plane) = policy::callers().pop().unwrap();
    let client = world.by(&world.acme.deployment_token);
    let mut lines: Vec<Line> = guarded().collect();
    // An operation may end what the next one needs.
    let rank = |line: &Line| (!line.reads(), line.method == Method::DELETE);
    lines.sort_by_key(rank);
    let (mut seen, mut wrong) = (0, Vec::new());
    // The world's plan is a private one.
    for line in lines.iter().filter(|line| !line.path.starts_with("/plans/{code}")) {
        let cell = policy::power(&data_plane, line);
        let example = example(&world, line);
        let path = world.path_of(line) + &example.query;
        let answer = client.call(line.method.clone(), &path, example.body).await;
        if [403, 404].contains(&answer.status) != cell.is_empty() {
            wrong.push(format!("{} ({cell}): {}", line.name, answer.text()));
        }
        seen += usize::from(cell == "own");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 10, "only {seen} lines act on the own deployment");
}

/// A caller with exactly the permissions that the operation requires.
pub async fn right_caller(world: &World, line: &Line) -> Client {
    if line.name == "sessions.end" {
        return world.person(&format!("auth0|olga-{}", world.acme.slug));
    }
    if line.exposure == Exposure::Own {
        return world.person(&format!("auth0|mats-{}", world.acme.slug));
    }
    if line.name == "console_links.create" {
        // An organization's own tokens create none.
        return world.root();
    }
    let codes = match line.permission {
        // The world's plan is a private one.
        Permission::ANY if line.path.starts_with("/plans/") => vec!["plans:read"],
        Permission::ANY => vec![],
        // Callers cannot grant more than they hold, nor change a member who holds more.
        Permission::TOKENS_WRITE
        | Permission::MEMBERS_WRITE
        | Permission::MEMBERS_DELETE
        | Permission::MEMBERS_PROVISION
        | Permission::ROLES_WRITE => everything(),
        // An heir gets all that an owner holds.
        _ if line.name == "organizations.transfer_ownership" => everything(),
        // A link lets a login act as the user.
        _ if line.name == "users.link" => everything(),
        // A caller that sets a provider can act as any member.
        Permission::PROVIDERS_WRITE => everything(),
        _ if ["projects.grant", "projects.withdraw"].contains(&line.name) => everything(),
        // A machine that reacts for a person asks about another person.
        Permission::EFFECTIVE_READ if !line.reads() => vec!["effective:read", "bindings:read"],
        // A key holds permissions itself.
        _ if ["license_keys.create", "license_keys.rotate"].contains(&line.name) => everything(),
        // A webhook receives audit events.
        _ if line.name.starts_with("webhooks.create") => vec!["webhooks:write", "audit:read"],
        _ if line.name == "projects.move" => vec!["projects:delete", "projects:write"],
        permission => vec![permission.as_str()],
    };
    let on_platform = line.exposure == Exposure::Platform || line.path.starts_with("/plans/{code}")
        // Another organization is where it goes.
        || line.name == "projects.move";
    let reach = if on_platform { String::new() } else { world.org("") };
    world.by(&world.new_token(&reach, &codes).await)
}
