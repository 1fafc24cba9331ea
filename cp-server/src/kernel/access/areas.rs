//! Areas: the parts of an organization that have grants of their own.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

crate::text_enum! {
    /// A kind of area.
    AreaKind {
        Workspace = "workspace", Project = "project", Group = "group", Deployment = "deployment",
        License = "license",
    }
}

/// One workspace, one project, one deployment, one license, or one group with all groups below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Area {
    pub kind: AreaKind,
    pub id: Uuid,
}
