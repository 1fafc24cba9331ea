//! What ends with an organization or a project: every declared table, referring ones first.

use crate::kernel::access::ids::{OrganizationId, ProjectId};
use crate::kernel::db::references::referring_first;
use crate::kernel::declaration::{self, Declaration, OfProject, Purge, Tenant};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

/// Deletes all rows of the organization, and the organization.
pub(super) async fn purge(cx: &mut Cx) -> Result<()> {
    for (table, tenant) in of_tenants(cx).await? {
        match tenant.purge {
            Purge::Stay(_) => continue,
            Purge::After(hook) => hook(cx).await?,
            Purge::Rows => {}
        }
        let delete = cx.tx.q("DELETE FROM ").sql(table).sql(" WHERE ").sql(tenant.owner);
        delete.sql(" = $1").bind(cx.at).exec().await?;
    }
    Ok(())
}

/// Prepares all tables for the end of a project, or for its move to another organization.
pub(super) async fn before_project(
    cx: &mut Cx,
    project: ProjectId,
    to: Option<OrganizationId>,
) -> Result<()> {
    for (_, tenant) in of_tenants(cx).await? {
        if let OfProject::Before(hook) = tenant.project {
            hook(cx, project, to).await?;
        }
    }
    Ok(())
}

/// The tables of organizations, each before those that it refers to.
async fn of_tenants(cx: &mut Cx) -> Result<Vec<(&'static str, &'static Tenant)>> {
    let order = referring_first(&mut cx.tx).await?;
    let place = |one: &Declaration| order.iter().position(|table| table == one.table);
    let mut declared = declaration::all().to_vec();
    declared.sort_by_key(|one| place(one));
    let tenant = |one: &'static Declaration| Some((one.table, one.tenant.as_ref()?));
    Ok(declared.into_iter().filter_map(tenant).collect())
}
