//! Identifiers of resources, bindings and reactions.

crate::ids! {
    ResourceId, "resource" of resources.organization_id;
    BindingId, "binding";
    ReactionId, "reaction";
}
