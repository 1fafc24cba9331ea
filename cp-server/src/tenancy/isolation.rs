//! Isolation: how strictly a workspace is separated from the others of its organization.

crate::text_enum! { Isolation { Strict = "strict", Standard = "standard", Relaxed = "relaxed" } }
