//! Scopes: the places at which a binding counts, in one string form.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::db::query::Query;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::tenancy::ids::GroupId;

crate::text_enum! {
    /// A kind of scope.
    ScopeKind {
        Organization = "organization",
        Group = "group",
        User = "user",
        Project = "project",
        Workspace = "workspace",
        Agent = "agent",
        Pool = "pool",
    }
}

impl ScopeKind {
    /// Returns whether a reference of this kind has an ID. The others are unique in an organization.
    fn has_id(self) -> bool {
        !matches!(self, Self::Organization | Self::Pool)
    }

    /// Returns the form of a reference, as a message shows it.
    fn form(self) -> String {
        if self.has_id() { format!("`{self}:<id>`") } else { format!("`{self}`") }
    }

    /// Returns the statement that finds those of the IDs that exist in the organization `$1`.
    fn existing(self) -> Option<&'static str> {
        Some(match self {
            Self::Organization | Self::Pool => return None,
            Self::Group => "SELECT id FROM groups WHERE organization_id = $1 AND id IN ",
            Self::Project => "SELECT id FROM projects WHERE organization_id = $1 AND id IN ",
            Self::Workspace => "SELECT id FROM workspaces WHERE organization_id = $1 AND id IN ",
            Self::User => {
                "SELECT user_id FROM memberships
                 WHERE organization_id = $1 AND scope = 'organization' AND user_id IN "
            }
            Self::Agent => {
                "SELECT id FROM resources
                 WHERE organization_id = $1 AND kind = 'agent' AND id IN "
            }
        })
    }
}

/// A scope: the organization, or one part, person or agent of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::FromRow)]
pub struct ScopeRef {
    #[sqlx(rename = "scope_kind")]
    pub kind: ScopeKind,
    /// The ID as it is stored: the organization's own for a kind that has none.
    #[sqlx(rename = "scope_id")]
    pub id: Uuid,
}

impl ScopeRef {
    /// Returns the scope of the whole organization.
    pub fn organization(id: OrganizationId) -> Self {
        Self { kind: ScopeKind::Organization, id: id.0 }
    }

    pub fn group(id: GroupId) -> Self {
        Self { kind: ScopeKind::Group, id: id.0 }
    }

    pub fn user(id: UserId) -> Self {
        Self { kind: ScopeKind::User, id: id.0 }
    }

    /// Returns the scope of a project; without one, of the whole organization.
    pub fn project_or(id: Option<ProjectId>, organization: OrganizationId) -> Self {
        id.map_or(Self::organization(organization), |id| Self {
            kind: ScopeKind::Project,
            id: id.0,
        })
    }

    /// Returns the reference as a row of this organization stores it.
    #[must_use]
    pub fn of(self, organization: OrganizationId) -> Self {
        Self { id: if self.kind.has_id() { self.id } else { organization.0 }, ..self }
    }

    /// Returns the ID if the scope is of this kind, for the column of that kind's foreign key.
    pub fn id_of(self, kind: ScopeKind) -> Option<Uuid> {
        (self.kind == kind).then_some(self.id)
    }

    /// Refuses a kind that the field does not accept.
    pub fn refuse_other(self, field: &str, kinds: &[ScopeKind]) -> Result<()> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        let forms: Vec<String> = kinds.iter().map(|kind| kind.form()).collect();
        let forms = match forms.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => forms.concat(),
        };
        let detail = format!("`{field}` must be {forms} (got kind `{}`).", self.kind);
        Err(Error::invalid(field.to_owned(), detail))
    }
}

/// Refuses the first scope that does not exist in the organization; `fields` names each of them.
///
/// # Errors
/// 404 at the field, for a foreign ID as for a missing one. A person who is not a member is missing.
pub async fn refuse_missing(cx: &mut Cx, scopes: &[ScopeRef], fields: &[String]) -> Result<()> {
    let mut asked: BTreeMap<&str, (ScopeKind, Vec<Uuid>)> = BTreeMap::new();
    for scope in scopes {
        asked.entry(scope.kind.as_str()).or_insert((scope.kind, Vec::new())).1.push(scope.id);
    }
    for (kind, ids) in asked.into_values() {
        let Some(sql) = kind.existing() else { continue };
        let query = cx.tx.q(sql).bind(cx.at);
        let query = query.rows([&ids], |query, ids| ids.iter().copied().fold(query, Query::bind));
        let found: Vec<(Uuid,)> = query.all().await?;
        let is_missing =
            |scope: &ScopeRef| scope.kind == kind && !found.iter().any(|(id,)| *id == scope.id);
        if let Some(at) = scopes.iter().position(is_missing) {
            let field = fields.get(at).cloned().unwrap_or_default();
            return Err(Error::not_found(kind.as_str()).at(field));
        }
    }
    Ok(())
}

impl fmt::Display for ScopeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.has_id() {
            true => write!(f, "{}:{}", self.kind, self.id),
            false => self.kind.fmt(f),
        }
    }
}

impl FromStr for ScopeRef {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = "must be `organization`, `pool`, or the kind and ID of a group, user, \
                         project, workspace or agent, such as \
                         `group:01900000-0000-7000-8000-000000000000`";
        let (kind, id) = text.split_once(':').map_or((text, None), |(kind, id)| (kind, Some(id)));
        let kind: ScopeKind = kind.parse().map_err(|_| malformed)?;
        match id {
            None if !kind.has_id() => Ok(Self { kind, id: Uuid::nil() }),
            Some(id) if kind.has_id() => {
                let id = Uuid::try_parse(id).map_err(|_| malformed)?;
                Ok(Self { kind, id })
            }
            _ => Err(malformed),
        }
    }
}

impl Serialize for ScopeRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScopeRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ScopeRef {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(organization|pool|(group|user|project|workspace|agent):[0-9A-Fa-f-]{32,36})$",
            "examples": ["organization"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01900000-0000-7000-8000-000000000000";

    #[test]
    fn scopes_have_one_string_form() {
        for kind in ScopeKind::ALL {
            let text = if kind.has_id() { format!("{kind}:{ID}") } else { kind.to_string() };
            assert_eq!(text.parse::<ScopeRef>().map(|scope| scope.to_string()), Ok(text));
        }
        for malformed in ["", "group", "group:", "group:x", "organization:", "planet:1", "pool:1"] {
            assert!(malformed.parse::<ScopeRef>().is_err(), "{malformed}");
        }
    }

    #[test]
    fn other_kind_is_refused_with_the_accepted_forms() {
        let pool: ScopeRef = "pool".parse().unwrap();
        let kinds = [ScopeKind::Organization, ScopeKind::Group, ScopeKind::User];
        let problem = pool.refuse_other("scope", &kinds).unwrap_err().document();
        assert_eq!(
            problem.detail,
            "`scope` must be `organization`, `group:<id>` or `user:<id>` (got kind `pool`)."
        );
        assert_eq!((problem.status, problem.field.as_deref()), (422, Some("scope")));
    }
}
