//! The rules of resources besides the form of their `spec`.

use cp_contracts::ProblemCode;
use serde_json::json;

use super::kinds::{ResourceKind, Spec};
use crate::governance::ids::ResourceId;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::hex;
use crate::kernel::text::{Name, Slug};

/// Refuses the members that only the vendor sets, unless they stay.
pub(super) fn refuse_vendors(
    cx: &Cx,
    kind: ResourceKind,
    is_public: bool,
    was_public: bool,
    spec: &Spec,
    before: Option<&Object>,
) -> Result<()> {
    if is_public && !kind.can_be_public() {
        let detail = "`is_public` can be true for listings and models only.";
        return Err(Error::invalid("is_public", detail));
    }
    let mut changed = (is_public != was_public).then_some("is_public");
    if let Spec::Listing(listing) = spec {
        for (field, now) in
            [("spec.featured", listing.featured), ("spec.verified", listing.verified)]
        {
            let name = field.trim_start_matches("spec.");
            let stays = before.and_then(|before| before.get(name)) == Some(&json!(now));
            if !stays && (before.is_some() || now) {
                changed = changed.or(Some(field));
            }
        }
    }
    match changed {
        Some(field) if !cx.caller.is_of_platform() => {
            let detail = format!("`{field}` can be changed by callers of the platform only.");
            Err(Error::new(ProblemCode::Forbidden, detail).at(field))
        }
        _ => Ok(()),
    }
}

/// Checks that the kind has a parent exactly when it must, of the right kind.
pub(super) async fn refuse_parent(
    cx: &mut Cx,
    kind: ResourceKind,
    parent: Option<ResourceId>,
) -> Result<()> {
    let kinds: Vec<&str> = kind.parents().iter().map(|kind| kind.as_str()).collect();
    let kinds = kinds.join(" or ");
    match (kind.parents().is_empty(), parent) {
        (true, None) => Ok(()),
        (true, Some(_)) => {
            let detail = format!("`parent_id` must be absent: a {kind} has no parent.");
            Err(Error::invalid("parent_id", detail))
        }
        (false, None) => {
            let detail = format!("`parent_id` is required: the ID of the {kinds} of the {kind}.");
            Err(Error::invalid("parent_id", detail))
        }
        (false, Some(parent)) => {
            let sql = "SELECT kind FROM resources WHERE id = $1 AND organization_id = $2";
            let found: Option<ResourceKind> = cx.tx.q(sql).bind(parent).bind(cx.at).value().await?;
            match found {
                Some(found) if kind.parents().contains(&found) => Ok(()),
                _ => Err(Error::not_found(&kinds).at("parent_id")),
            }
        }
    }
}

/// The number of suffixes that are tried behind a key that was derived from a name.
const KEY_ATTEMPTS: u32 = 50;

/// Returns a key derived from the name that is free now; the unique index decides.
pub(super) async fn free_key(cx: &mut Cx, kind: ResourceKind, name: &Name) -> Result<String> {
    let sql = "SELECT 1 FROM resources WHERE organization_id = $1 AND kind = $2 AND key = $3";
    for n in 0..KEY_ATTEMPTS {
        let Some(stem) = Slug::from_name(name.as_str()) else { break };
        let key = if n == 0 { stem } else { stem.numbered(n) };
        let found = cx.tx.q(sql).bind(cx.at).bind(kind).bind(&key);
        if found.value::<i32>().await?.is_none() {
            return Ok(key.into_string());
        }
    }
    Ok(format!("{kind}-{}", hex(&cx.app.random.bytes::<6>())))
}
