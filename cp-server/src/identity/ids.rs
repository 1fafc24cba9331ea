//! Identifiers of people, their roles and their credentials.

use crate::kernel::access::areas::AreaKind;

crate::ids! {
    AuthAccountId, "auth account";
    RoleId, "role" of roles.organization_id;
    MembershipId, "membership" of memberships.organization_id as "member"
        in &[AreaKind::Workspace, AreaKind::Group],
        crate::above!("(SELECT m.group_id FROM memberships m WHERE m.id = $1)",
               "SELECT 'group' AS kind, id FROM above
                UNION ALL SELECT 'workspace', m.workspace_id FROM memberships m
                          WHERE m.id = $1 AND m.workspace_id IS NOT NULL");
    InvitationId, "invitation" of invitations.organization_id;
    TokenId, "service token" of service_tokens.organization_id;
    ProviderId, "identity provider";
    SessionId, "session";
    ConsoleLinkId, "console link";
}
