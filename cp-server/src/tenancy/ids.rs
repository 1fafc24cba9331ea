//! Identifiers of the parts of an organization.

use crate::kernel::access::areas::AreaKind;

/// A statement over `above`: the group with the ID `$group`, and the groups above it.
#[macro_export]
macro_rules! above {
    ($group:literal, $statement:literal) => {
        concat!(
            "WITH RECURSIVE above (id, parent_id) AS (
                 SELECT g.id, g.parent_id FROM groups g WHERE g.id = ",
            $group,
            "    UNION SELECT g.id, g.parent_id FROM groups g JOIN above a ON g.id = a.parent_id) ",
            $statement
        )
    };
}

/// A condition on a column: the group `?` of the organization `$1`, or a group below it.
#[macro_export]
macro_rules! in_or_below {
    ($column:literal) => {
        concat!(
            " AND ",
            $column,
            " IN (WITH RECURSIVE below (id) AS (
                  SELECT g.id FROM groups g WHERE g.organization_id = $1 AND g.id = ?
                  UNION SELECT g.id FROM groups g JOIN below b ON g.parent_id = b.id)
              SELECT id FROM below)"
        )
    };
}

crate::ids! {
    WorkspaceId, "workspace" of workspaces.organization_id in &[AreaKind::Workspace, AreaKind::Project],
        "SELECT 'workspace' AS kind, w.id FROM workspaces w WHERE w.id = $1
         UNION ALL SELECT 'project', w.project_id FROM workspaces w
                   WHERE w.id = $1 AND w.project_id IS NOT NULL";
    GroupId, "group" of groups.organization_id in &[AreaKind::Group],
        crate::above!("$1", "SELECT 'group' AS kind, id FROM above");
}
