//! Identifiers of resources and bindings.

crate::ids! {
    ResourceId, "resource" of resources.organization_id;
    BindingId, "binding";
}
