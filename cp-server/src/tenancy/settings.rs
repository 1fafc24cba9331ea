//! The settings of an organization: any members, some of which have a fixed shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::isolation::Isolation;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::Conn;
use crate::kernel::db::record::overlay;
use crate::kernel::declaration::notices;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json::Between;
use crate::kernel::http::json::refusal::{BODY, Refusal, nearest};
use crate::kernel::text::named;

/// The members with a fixed shape. A member of another name may hold any value.
#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is the check")]
struct Known {
    isolation_level: Option<Isolation>,
    features: Option<BTreeMap<String, bool>>,
    notifications: Option<Notifications>,
    /// Whether people without an identity provider sign in with a link: `identity/console_links`.
    console_links: Option<bool>,
    security: Option<Security>,
}

/// The notices of ends: `lifecycle/notices.rs`.
#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is the check")]
struct Notifications {
    days: Option<Vec<Between<1, 365>>>,
    /// Types of notices.
    off: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is the check")]
struct Security {
    require_2fa: Option<bool>,
    ip_whitelist: Option<Vec<String>>,
    allowed_email_domains: Option<Vec<String>>,
    session_timeout_minutes: Option<u32>,
}

/// Refuses settings in which a known member has another shape.
pub(super) fn check(settings: &Map<String, Value>) -> Result<()> {
    let read: Result<Known, _> = serde_path_to_error::deserialize(Value::Object(settings.clone()));
    match read {
        Ok(known) => {
            refuse_unknown(&known.notifications.and_then(|own| own.off).unwrap_or_default())
        }
        Err(error) => {
            let field = format!("settings.{}", error.path());
            let refusal = Refusal::of(BODY, &field, &error.into_inner().to_string());
            Err(Error::invalid(refusal.field, refusal.detail))
        }
    }
}

/// Refuses types that no notice has: a misspelled one would be sent on.
fn refuse_unknown(off: &[String]) -> Result<()> {
    let is_unknown = |name: &&String| notices().all(|known| known != **name);
    let Some(name) = off.iter().find(is_unknown) else { return Ok(()) };
    let known: Vec<_> = notices().collect();
    let hint =
        nearest(name, &known).map_or(String::new(), |near| format!(" Did you mean `{near}`?"));
    let detail = format!(
        "`settings.notifications.off` has an unknown type: {}.{hint} Known types: {}.",
        named(name),
        known.join(", ")
    );
    Err(Error::invalid("settings.notifications.off", detail))
}

/// Whether people of the organization may sign in with a link to the console.
pub async fn has_console_links(tx: &mut Conn, organization: OrganizationId) -> Result<bool> {
    // SQLite returns 1 for true.
    let sql = "SELECT CAST(settings ->> 'console_links' AS TEXT) IN ('true', '1')
               FROM organizations WHERE id = $1 AND settings ->> 'console_links' IS NOT NULL";
    Ok(tx.q(sql).bind(organization).value().await?.unwrap_or(false))
}

/// Merges settings one level deep, and their `features` member by member.
pub(super) fn merge(settings: &mut Map<String, Value>, mut patch: Map<String, Value>) {
    if let (Some(Value::Object(features)), Some(Value::Object(before))) =
        (patch.get("features"), settings.get_mut("features"))
    {
        overlay(before, features.clone());
        patch.remove("features");
    } else if let Some(Value::Object(features)) = patch.get_mut("features") {
        // Removing a missing member has no effect.
        features.retain(|_, value| !value.is_null());
    }
    overlay(settings, patch);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn known_members_have_their_shape_and_others_any() {
        for good in [
            json!({}),
            json!({"isolation_level": "Strict", "theme": [1], "notifications": {"mail": "daily"}}),
            json!({"features": {"beta": true}, "security": {"require_2fa": true, "more": 1}}),
            json!({"security": {"ip_whitelist": ["10.0.0.0/8"], "session_timeout_minutes": 30}}),
        ] {
            assert!(check(&object(good.clone())).is_ok(), "{good}");
        }
        for (bad, field) in [
            (json!({"isolation_level": "none"}), "settings.isolation_level"),
            (json!({"features": {"beta": 1}}), "settings.features.beta"),
            (json!({"features": []}), "settings.features"),
            (json!({"notifications": "all"}), "settings.notifications"),
            (json!({"notifications": {"days": [0]}}), "settings.notifications.days[0]"),
            (json!({"security": {"require_2fa": "yes"}}), "settings.security.require_2fa"),
            (json!({"console_links": "yes"}), "settings.console_links"),
            (
                json!({"security": {"session_timeout_minutes": -1}}),
                "settings.security.session_timeout_minutes",
            ),
        ] {
            let problem = check(&object(bad.clone())).unwrap_err().document();
            assert_eq!((problem.status, problem.field.as_deref()), (422, Some(field)), "{bad}");
        }
    }
}
