//! Keygen's policies: the plans that they become, and the caps that they and their licenses state.

use std::collections::BTreeMap;

use serde_json::Value;

use super::documents::{Documents, Resource};

/// The caps of a policy or a license; `None` without a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Caps {
    pub(super) machines: Option<i64>,
    /// At least 1.
    pub(super) users: Option<i64>,
}

impl Caps {
    /// Reads the caps. A value that is no whole number is an error: it must not mean "no limit".
    pub(super) fn of(resource: &Resource) -> Result<Self, String> {
        let users = resource.number("maxUsers")?.filter(|users| *users > 0);
        Ok(Self { machines: resource.number("maxMachines")?, users })
    }

    /// Returns these caps of a license, with those of its policy where the license has none.
    pub(super) fn or(self, policy: Self) -> Self {
        Self { machines: self.machines.or(policy.machines), users: self.users.or(policy.users) }
    }
}

/// The policies that become plans, and their caps, by ID. Also returns why others do not.
pub(super) fn read(documents: &Documents) -> (BTreeMap<&str, Caps>, Vec<(&Resource, String)>) {
    let (mut caps, mut left_out) = (BTreeMap::new(), Vec::new());
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    for id in documents.policies.keys() {
        *codes.entry(code_of(id)).or_default() += 1;
    }
    for policy in documents.policies.values() {
        if codes.get(&code_of(&policy.id)).is_some_and(|count| *count > 1) {
            let why = "another policy has the same ID in other letters: both are left out. Give \
                       one of them another ID";
            left_out.push((policy, why.to_owned()));
            continue;
        }
        match Caps::of(policy) {
            Ok(own) => {
                caps.insert(&*policy.id, own);
            }
            Err(why) => left_out.push((policy, format!("{why}: the policy is left out"))),
        }
    }
    (caps, left_out)
}

/// Returns the code of the plan of a policy. A code begins with a letter.
pub(super) fn code_of(policy: &str) -> String {
    format!("keygen-{}", policy.to_lowercase())
}

/// Returns the overage of the pool of a policy's machines.
pub(super) fn overage_of(policy: &Resource) -> Option<Value> {
    match policy.text("overageStrategy") {
        Some("ALWAYS_ALLOW_OVERAGE") => Some("report".into()),
        Some("ALLOW_1_25X_OVERAGE") => Some(25.into()),
        Some("ALLOW_1_5X_OVERAGE") => Some(50.into()),
        Some("ALLOW_2X_OVERAGE") => Some(100.into()),
        // The older name of the strategy.
        None if policy.is("concurrent") => Some("report".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_refused() {
        let read = |value: &Value| {
            let policy =
                json!({"id": "p", "type": "policies", "attributes": {"maxMachines": value}});
            Caps::of(&Resource::read(&policy).unwrap()).map(|caps| caps.machines)
        };
        for (value, right) in [("null", None), ("0", Some(0)), ("3", Some(3)), ("3.0", Some(3))] {
            assert_eq!(read(&serde_json::from_str(value).unwrap()), Ok(right), "{value}");
        }
        for value in ["\"3\"", "true", "3.5", "-1", "99999999999999999999", "1e300", "[3]"] {
            let refused = read(&serde_json::from_str(value).unwrap()).unwrap_err();
            assert!(refused.contains("`maxMachines` must be a whole number"), "{value}: {refused}");
        }
    }
}
