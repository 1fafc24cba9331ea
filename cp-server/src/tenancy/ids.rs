//! Identifiers of what an organization is made of.

use crate::kernel::access::areas::AreaKind;

crate::ids! {
    WorkspaceId, "workspace" of workspaces.organization_id in &[AreaKind::Workspace, AreaKind::Project],
        "SELECT 'workspace' AS kind, w.id FROM workspaces w WHERE w.id = $1
         UNION ALL SELECT 'project', w.project_id FROM workspaces w
                   WHERE w.id = $1 AND w.project_id IS NOT NULL";
    GroupId, "group" of groups.organization_id in &[AreaKind::Group],
        crate::above!("$1", "SELECT 'group' AS kind, id FROM above");
    ArtifactId, "artifact" of artifacts.organization_id in &[AreaKind::Project],
        "SELECT 'project' AS kind, a.project_id AS id FROM artifacts a WHERE a.id = $1";
    SecretRefId, "secret reference";
}
