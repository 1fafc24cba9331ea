//! Isolation: the strictness of a workspace's separation from the other workspaces of its
//! organization.

crate::text_enum! { Isolation { Strict = "strict", Standard = "standard", Relaxed = "relaxed" } }
