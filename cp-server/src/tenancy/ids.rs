//! Identifiers of what an organization is made of.

use crate::kernel::access::areas::AreaKind;

/// A statement over `above`: the group of the id `$group`, and those that it is in.
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

crate::ids! {
    WorkspaceId, "workspace" of workspaces.organization_id in &[AreaKind::Workspace, AreaKind::Project],
        "SELECT 'workspace' AS kind, w.id FROM workspaces w WHERE w.id = $1
         UNION ALL SELECT 'project', w.project_id FROM workspaces w
                   WHERE w.id = $1 AND w.project_id IS NOT NULL";
    GroupId, "group" of groups.organization_id in &[AreaKind::Group],
        crate::above!("$1", "SELECT 'group' AS kind, id FROM above");
}
