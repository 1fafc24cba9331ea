//! Names of models, and the policies that allow and deny them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

crate::texts! {
    /// The name of a model, or a prefix of names that ends in `*`.
    ModelName, |text| {
        let stem = text.strip_suffix('*').unwrap_or(text);
        match text.parse::<crate::kernel::text::Reference>() {
            Ok(_) if !stem.contains('*') => Ok(text.into()),
            _ => Err("must be the name of a model, 1 to 255 printable characters, or a prefix that \
                      ends in `*`".into()),
        }
    }, {"type": "string", "minLength": 1, "maxLength": 255, "examples": ["gpt-*"]};
}

/// Returns whether a name, or a prefix that ends in `*`, matches the name.
pub fn matches(pattern: &str, name: &str) -> bool {
    pattern == name || pattern.strip_suffix('*').is_some_and(|stem| name.starts_with(stem))
}

/// The models of a product that the organization may use.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPolicy {
    /// The allowed names and prefixes; empty allows all.
    #[serde(default)]
    pub allow: Vec<ModelName>,
    /// The denied names and prefixes, also of allowed ones.
    #[serde(default)]
    pub deny: Vec<ModelName>,
}

impl ModelPolicy {
    fn admits(&self, name: &str) -> bool {
        let has = |list: &[ModelName]| list.iter().any(|one| matches(one.as_str(), name));
        !has(&self.deny) && (self.allow.is_empty() || has(&self.allow))
    }
}

/// The policies by product; `''` applies to all products.
pub type ModelPolicies = BTreeMap<String, ModelPolicy>;

/// Returns whether the policies of all products and of this one admit the name.
pub fn admit(policies: &ModelPolicies, product: &str, name: &str) -> bool {
    let admits = |product: &str| policies.get(product).is_none_or(|one| one.admits(name));
    admits("") && admits(product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_precede_allowances() {
        let policy = |text: &str| serde_json::from_str::<ModelPolicies>(text).unwrap();
        let policies = policy(
            r#"{"": {"deny": ["gpt-4*"]}, "console": {"allow": ["gpt-*", "o1"], "deny": ["gpt-5"]}}"#,
        );
        for (product, name, is_admitted) in [
            ("", "any", true),
            ("", "gpt-4o", false),
            ("console", "gpt-4o", false),
            ("console", "gpt-3", true),
            ("console", "o1", true),
            ("console", "o1-mini", false),
            ("console", "gpt-5", false),
            ("copilot", "gpt-5", true),
        ] {
            assert_eq!(admit(&policies, product, name), is_admitted, "{product} {name}");
        }
    }

    #[test]
    fn only_the_last_character_may_be_an_asterisk() {
        for good in ["gpt", "gpt-*", "*"] {
            assert!(good.parse::<ModelName>().is_ok(), "{good}");
        }
        for bad in ["", "a*b", "**", &"x".repeat(256)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }
}
