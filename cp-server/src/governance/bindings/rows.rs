//! The rows of bindings, and their only writer.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::kinds::{BindingKind, Effect};
use crate::governance::ids::BindingId;
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::clock::after;
use crate::kernel::db::query::Query;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::path_segment;
use crate::tenancy::organizations;

pub(in crate::governance) const NOUN: &str = "binding";

/// A subject that is allowed for, or denied to, a scope.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Binding {
    pub id: BindingId,
    pub organization_id: OrganizationId,
    pub kind: BindingKind,
    /// The product label; empty for all products.
    pub product: String,
    /// A resource's ID, the name or prefix of a model, or the code of a feature.
    pub subject: String,
    #[sqlx(flatten)]
    pub scope: ScopeRef,
    pub effect: Effect,
    pub value: Object,
    /// Whether no narrower level undoes the binding.
    pub mandatory: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Record for Binding {
    const TABLE: &'static str = "bindings";
    const COLUMNS: &'static str = "bindings.id, bindings.organization_id, bindings.kind,
        bindings.product, bindings.subject, bindings.scope_kind, bindings.scope_id,
        bindings.effect, bindings.value, bindings.mandatory, bindings.created_at,
        bindings.updated_at";
    const KEY: &'static str = "bindings.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl Resource for Binding {
    const NOUN: &'static str = NOUN;
    const PATH: &'static str = "organizations";
    fn name(&self) -> String {
        let product = match self.product.as_str() {
            "" => String::new(),
            product => format!("&product={}", path_segment(product)),
        };
        format!(
            "{}/bindings?kind={}&subject={}&scope={}{product}",
            self.organization_id,
            self.kind,
            path_segment(&self.subject),
            self.scope
        )
    }
}

/// The subject of bindings: all bindings of one subject differ in their scopes.
#[derive(Clone, Debug)]
pub struct Subject {
    pub kind: BindingKind,
    pub product: String,
    pub subject: String,
}

/// The content of a binding of a subject.
#[derive(Clone, Debug)]
pub struct Grant {
    pub scope: ScopeRef,
    pub effect: Effect,
    pub value: Object,
    pub mandatory: bool,
}

impl Grant {
    /// Returns whether the row has this content.
    pub fn is(&self, row: &Binding) -> bool {
        self.scope == row.scope
            && self.effect == row.effect
            && self.value == row.value
            && self.mandatory == row.mandatory
    }
}

/// Returns all bindings of the subject, the newest first.
pub(super) async fn of_subject(cx: &mut Cx, of: &Subject) -> Result<Vec<Binding>> {
    let rows = cx.tx.select(
        "WHERE organization_id = $1 AND kind = $2 AND product = $3 AND subject = $4
         ORDER BY id DESC",
    );
    let rows = rows.bind(cx.at).bind(of.kind).bind(&*of.product).bind(&*of.subject);
    Ok(rows.all().await?)
}

/// Returns the binding of the subject to the scope.
pub(super) async fn find(cx: &mut Cx, of: &Subject, scope: ScopeRef) -> Result<Option<Binding>> {
    let row = cx.tx.select(
        "WHERE organization_id = $1 AND kind = $2 AND product = $3 AND subject = $4
           AND scope_kind = $5 AND scope_id = $6",
    );
    let row = row.bind(cx.at).bind(of.kind).bind(&*of.product).bind(&*of.subject);
    Ok(row.bind(scope.kind).bind(scope.id).opt().await?)
}

/// Inserts bindings of the subject. The caller has checked them, and holds the organization.
pub async fn insert(cx: &mut Cx, of: &Subject, grants: &[Grant]) -> Result<()> {
    if grants.is_empty() {
        return Ok(());
    }
    let (random, now, at) = (cx.app.random.clone(), cx.now, cx.at);
    let resource = of.kind.resource().and_then(|_| of.subject.parse::<Uuid>().ok());
    let sql = "INSERT INTO bindings
               (id, organization_id, kind, product, subject, scope_kind, scope_id, effect, value,
                mandatory, resource_id, group_id, user_id, project_id, workspace_id, agent_id,
                created_at, updated_at)
               VALUES ";
    let insert = cx.tx.q(sql).rows(grants, |query: Query<'_>, grant| {
        let scope = grant.scope;
        query
            .bind(BindingId::new(&random, now))
            .bind(at)
            .bind(of.kind)
            .bind(&*of.product)
            .bind(&*of.subject)
            .bind(scope.kind)
            .bind(scope.id)
            .bind(grant.effect)
            .bind(grant.value.clone())
            .bind(grant.mandatory)
            .bind(resource)
            .bind(scope.id_of(ScopeKind::Group))
            .bind(scope.id_of(ScopeKind::User))
            .bind(scope.id_of(ScopeKind::Project))
            .bind(scope.id_of(ScopeKind::Workspace))
            .bind(scope.id_of(ScopeKind::Agent))
            .bind(now)
            .bind(now)
    });
    let done = insert.exec().await;
    done.on_conflict("bindings_kind_product_subject_scope", Error::stale).map(drop)
}

/// Replaces the content of a binding, whose scope stays.
pub(super) async fn update(cx: &mut Cx, before: &Binding, grant: &Grant) -> Result<Binding> {
    let sql = "UPDATE bindings SET effect = $3, value = $4, mandatory = $5, updated_at = $6
               WHERE id = $1 AND organization_id = $2";
    let update = cx.tx.returning(sql).bind(before.id).bind(cx.at).bind(grant.effect);
    let update = update.bind(grant.value.clone()).bind(grant.mandatory);
    let updated = update.bind(after(before.updated_at, cx.now)).opt().await?;
    updated.ok_or_else(Error::stale)
}

/// Deletes bindings.
pub(super) async fn delete(cx: &mut Cx, ids: &[BindingId]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let delete = cx.tx.q("DELETE FROM bindings WHERE organization_id = $1 AND id IN ").bind(cx.at);
    let delete = delete.rows([ids], |query, ids| ids.iter().copied().fold(query, Query::bind));
    delete.exec().await?;
    Ok(())
}

/// Deletes the bindings of a person who leaves the organization, so that a person who returns finds
/// no former grants.
pub async fn leave(cx: &mut Cx, user: UserId) -> Result<()> {
    let sql = "DELETE FROM bindings WHERE organization_id = $1 AND user_id = $2";
    cx.tx.q(sql).bind(cx.at).bind(user).exec().await?;
    Ok(())
}

/// Deletes the bindings of a project and its workspaces, when it ends or moves.
pub(super) async fn leave_project(cx: &mut Cx, project: ProjectId) -> Result<()> {
    let sql = "DELETE FROM bindings
               WHERE organization_id = $1
                 AND (project_id = $2
                      OR workspace_id IN (SELECT id FROM workspaces WHERE project_id = $2))";
    cx.tx.q(sql).bind(cx.at).bind(project).exec().await?;
    organizations::touch(cx, cx.at).await
}
