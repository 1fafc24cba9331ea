//! Search: one question over all resources.
//!
//! # Design
//! A text is an ID, another complete reference, or the beginning of a name, so each condition reads an
//! index. Texts in the middle of names are not found: that would read whole tables. Each kind asks for
//! its own permission, and rows that the caller may not read are left out of the statement.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kernel::access::caller::{CallerScope, Permission, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::query::Query;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Reference;

crate::routes! {
    /// The search over all resources.
    search:
    /// Finds resources by an ID, another complete reference, or the beginning of a name.
    ///
    /// Complete references are the slug and the `external_id`, the e-mail address of a person, the `kid`
    /// of a signing key, and the `jti` or SHA-256 of a token. Upper and lower case of names are equal.
    /// Returns at most 20 resources, and only those that the caller may read.
    GET "/search" ANY => find;
}

/// The most resources of an answer.
const MOST: usize = 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The text, 1 to 255 characters.
    q: Reference,
}

/// The resources that match.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Found {
    items: Vec<Hit>,
}

/// A resource that matches.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Hit {
    /// The kind of the resource, such as `license`.
    kind: &'static str,
    /// The ID; for a signing key, its `kid`.
    id: String,
    /// The name, or another text by which people know it.
    label: String,
    /// The organization that owns it; null for resources of the platform.
    organization_id: Option<OrganizationId>,
    /// The path of the resource below `/api/v1`.
    path: String,
}

/// How resources of one kind are found.
struct Kind {
    kind: &'static str,
    /// The segment of the resource's path.
    segment: &'static str,
    permission: Permission,
    /// The statement up to its condition. It returns the ID, the label and the organization.
    select: &'static str,
    id: &'static str,
    /// The column of the organization; `None` for resources of the platform.
    owner: Option<&'static str>,
    /// Columns that are compared exactly.
    texts: &'static [&'static str],
    /// Columns whose beginning is compared.
    names: &'static [&'static str],
    /// Whether the path of a resource has its label instead of its ID.
    is_label_in_path: bool,
}

impl Kind {
    /// A kind of organizations, found by its ID alone.
    const fn new(
        kind: &'static str,
        segment: &'static str,
        permission: Permission,
        select: &'static str,
    ) -> Self {
        let (id, owner) = ("id", Some("organization_id"));
        let (texts, names) = (&[], &[]);
        let is_label_in_path = false;
        Self { kind, segment, permission, select, id, owner, texts, names, is_label_in_path }
    }

    /// Names the columns of the ID and of the organization.
    const fn columns(self, id: &'static str, owner: &'static str) -> Self {
        Self { id, owner: Some(owner), ..self }
    }

    const fn of_platform(self) -> Self {
        Self { owner: None, ..self }
    }

    const fn texts(self, texts: &'static [&'static str]) -> Self {
        Self { texts, ..self }
    }

    const fn names(self, names: &'static [&'static str]) -> Self {
        Self { names, ..self }
    }

    const fn in_path_by_label(self) -> Self {
        Self { is_label_in_path: true, ..self }
    }
}

const KINDS: [Kind; 15] = [
    Kind::new(
        "organization",
        "organizations",
        Permission::ORG_READ,
        "SELECT id, name, id FROM organizations WHERE (",
    )
    .columns("id", "id")
    .texts(&["slug", "external_id", "email_domain"])
    .names(&["name"]),
    Kind::new(
        "license",
        "licenses",
        Permission::LICENSES_READ,
        "SELECT l.id, COALESCE(l.name, d.name), l.organization_id
                 FROM licenses l JOIN deployments d ON d.id = l.deployment_id WHERE (",
    )
    .columns("l.id", "l.organization_id")
    .names(&["l.name"]),
    Kind::new(
        "deployment",
        "deployments",
        Permission::DEPLOYMENTS_READ,
        "SELECT id, name, organization_id FROM deployments WHERE (",
    )
    .texts(&["external_id"])
    .names(&["name"]),
    Kind::new(
        "subscription",
        "subscriptions",
        Permission::SUBSCRIPTIONS_READ,
        "SELECT s.id, p.code, s.organization_id
                 FROM subscriptions s JOIN plans p ON p.id = s.plan_id WHERE (",
    )
    .columns("s.id", "s.organization_id")
    .texts(&["s.external_id"]),
    Kind::new(
        "bundle",
        "bundles",
        Permission::LICENSES_READ,
        "SELECT id, audience, organization_id FROM bundles WHERE (",
    )
    .texts(&["bundle_hash"]),
    Kind::new(
        "license_key",
        "license-keys",
        Permission::LICENSES_READ,
        "SELECT id, COALESCE(name, hint), organization_id FROM license_keys WHERE (",
    ),
    Kind::new(
        "workspace",
        "workspaces",
        Permission::WORKSPACES_READ,
        "SELECT id, name, organization_id FROM workspaces WHERE (",
    ),
    Kind::new(
        "project",
        "projects",
        Permission::PROJECTS_READ,
        "SELECT id, name, organization_id FROM projects WHERE (",
    ),
    Kind::new(
        "group",
        "groups",
        Permission::GROUPS_READ,
        "SELECT id, name, organization_id FROM groups WHERE (",
    ),
    Kind::new(
        "resource",
        "resources",
        Permission::RESOURCES_READ,
        "SELECT id, COALESCE(name, key), organization_id FROM resources WHERE (",
    ),
    Kind::new(
        "webhook",
        "webhooks",
        Permission::WEBHOOKS_READ,
        "SELECT id, COALESCE(name, url), organization_id FROM webhooks WHERE (",
    ),
    Kind::new("user", "users", Permission::USERS_READ, "SELECT id, email, NULL FROM users WHERE (")
        .of_platform()
        .texts(&["email_key", "external_id"])
        .names(&["display_name"]),
    Kind::new(
        "membership",
        "memberships",
        Permission::MEMBERS_READ,
        "SELECT m.id, u.email, m.organization_id
                 FROM memberships m JOIN users u ON u.id = m.user_id WHERE (",
    )
    .columns("m.id", "m.organization_id")
    .texts(&["u.email_key"]),
    Kind::new(
        "audit_event",
        "audit",
        Permission::AUDIT_READ,
        "SELECT id, action, organization_id FROM audit_events WHERE (",
    ),
    Kind::new("plan", "plans", Permission::PLANS_READ, "SELECT id, code, NULL FROM plans WHERE (")
        .of_platform()
        .texts(&["code"])
        .in_path_by_label(),
];

async fn find(cx: &mut Cx<Scope>, _: CallerScope, question: Question) -> Result<Found> {
    let text = question.q.as_str().trim();
    let mut items = signing_keys(cx, text).await?;
    for kind in &KINDS {
        items.extend(of_kind(cx, kind, text, MOST - items.len()).await?);
    }
    Ok(Found { items })
}

/// The organizations whose rows the caller may read; `None` for those of all.
fn readable(cx: &Cx<Scope>, permission: Permission) -> Option<Vec<OrganizationId>> {
    if cx.caller.on_platform(permission).is_ok() {
        return None;
    }
    let own = cx.caller.organizations().into_iter();
    Some(own.filter(|id| cx.caller.may_throughout(*id, permission)).collect())
}

async fn of_kind(cx: &mut Cx<Scope>, kind: &Kind, text: &str, room: usize) -> Result<Vec<Hit>> {
    let readable = readable(cx, kind.permission);
    let is_closed = readable.as_ref().is_some_and(|own| own.is_empty() || kind.owner.is_none());
    if room == 0 || is_closed {
        return Ok(Vec::new());
    }
    let query = match Uuid::try_parse(text) {
        Ok(id) => cx.tx.q(kind.select).sql(kind.id).and(" = ?", id),
        Err(_) if kind.texts.is_empty() && kind.names.is_empty() => return Ok(Vec::new()),
        Err(_) => matching(cx, kind, text),
    };
    let query = match (readable, kind.owner) {
        (Some(own), Some(owner)) => {
            let query = query.sql(") AND ").sql(owner).sql(" IN (VALUES ");
            query.rows(own, |query, id| query.bind(id)).sql(")")
        }
        _ => query.sql(")"),
    };
    let room = i64::try_from(room).unwrap_or(i64::MAX);
    let found: Vec<(Uuid, String, Option<OrganizationId>)> = query.limit(room).all().await?;
    let hits = found.into_iter().map(|(id, label, organization_id)| Hit {
        kind: kind.kind,
        id: id.to_string(),
        path: match kind.is_label_in_path {
            true => format!("/{}/{label}", kind.segment),
            false => format!("/{}/{id}", kind.segment),
        },
        label,
        organization_id,
    });
    Ok(hits.collect())
}

/// Adds the conditions of a text that is no ID.
fn matching<'c>(cx: &'c mut Cx<Scope>, kind: &Kind, text: &str) -> Query<'c> {
    let folded = text.to_ascii_lowercase();
    let address = text.to_lowercase();
    // No character comes after the last one, so this is the end of all texts with this beginning.
    let end = format!("{folded}{}", char::MAX);
    let (before, after) = cx.tx.folds();
    let mut query = cx.tx.q(kind.select);
    let mut or = "";
    for column in kind.texts {
        let is_address = column.ends_with("email_key") || *column == "email_domain";
        let text = if is_address { address.as_str() } else { text };
        query = query.sql(or).sql(column).and(" = ?", text);
        or = " OR ";
    }
    for column in kind.names {
        query = query.sql(or).sql("(").sql(before).sql(column).sql(after);
        query = query.and(" >= ?", folded.as_str()).sql(" AND ").sql(before).sql(column);
        query = query.sql(after).and(" < ?)", end.as_str());
        or = " OR ";
    }
    query
}

/// Signing keys have no UUID.
async fn signing_keys(cx: &mut Cx<Scope>, text: &str) -> Result<Vec<Hit>> {
    if cx.caller.on_platform(Permission::KEYS_READ).is_err() {
        return Ok(Vec::new());
    }
    let sql = "SELECT kid, state FROM signing_keys WHERE kid = $1";
    let found: Option<(String, String)> = cx.tx.q(sql).bind(text).opt().await?;
    let hit = found.map(|(kid, state)| Hit {
        kind: "signing_key",
        path: format!("/signing/keys/{kid}"),
        id: kid,
        label: state,
        organization_id: None,
    });
    Ok(hit.into_iter().collect())
}
