//! The fold: the one decision about a subject, from all bindings that reach the caller.
//!
//! # Design
//! The function is pure and knows neither rows nor the clock. It receives the bindings that match
//! the subject, in any order, each with the number of its level. Level 0 is the nearest.
//!
//! 1. The nearest level with a binding decides. Within a level one deny denies.
//! 2. If a level has mandatory bindings, the widest such level decides, by its mandatory bindings
//!    alone. So no narrower level undoes them, and no plain binding beside them does.
//! 3. Of one level, only the most specific names of models count.
//! 4. Values come from the deciding level alone.
//! 5. The ceiling and inactivity apply last, and only remove.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::governance::bindings::kinds::{BindingKind, Effect};
use crate::identity::scopes::ScopeRef;
use crate::licensing::entitlement::FeatureSource;

crate::text_enum! {
    /// The reason of a decision.
    Reason as "EffectiveReason" {
        Allowed = "allowed",
        Denied = "denied",
        NothingBound = "nothing_bound",
        /// The plan, the subscription or the organization's entitlements exclude it.
        Ceiling = "ceiling",
        /// The organization, its subscription or the membership is not active.
        Inactive = "inactive",
    }
}

/// A binding of a level of the chain.
#[derive(Clone, Debug)]
pub struct Bound {
    pub id: Uuid,
    /// The number of the level; 0 is the nearest.
    pub level: usize,
    pub scope: ScopeRef,
    pub kind: BindingKind,
    pub subject: String,
    pub effect: Effect,
    pub mandatory: bool,
    pub value: Map<String, Value>,
    pub changed_at: DateTime<Utc>,
}

impl Bound {
    /// Returns the rank of a name among those of its level: the name itself, then longer prefixes.
    fn specificity(&self) -> usize {
        match self.subject.strip_suffix('*') {
            Some(stem) if self.kind == BindingKind::Model => stem.len(),
            _ => usize::MAX,
        }
    }
}

/// The decision of bindings.
#[derive(Clone, Debug)]
pub struct Decision<'b> {
    pub effect: Effect,
    /// The binding that the decision names.
    pub by: &'b Bound,
    /// The bindings of the deciding level that count.
    counted: Vec<&'b Bound>,
}

/// Decides by the bindings that match a subject; `None` when there is none.
pub fn decide<'b>(matching: &[&'b Bound]) -> Option<Decision<'b>> {
    let mandatory = matching.iter().filter(|one| one.mandatory).map(|one| one.level).max();
    let nearest = || matching.iter().map(|one| one.level).min();
    let level = mandatory.or_else(nearest)?;
    let decides = |one: &&&Bound| one.level == level && (mandatory.is_none() || one.mandatory);
    let of_level = matching.iter().copied().filter(|one| decides(&one));
    let best = of_level.clone().map(Bound::specificity).max()?;
    let counted: Vec<&Bound> = of_level.filter(|one| one.specificity() == best).collect();
    let last = |effect| {
        let of_effect = counted.iter().copied().filter(|one| one.effect == effect);
        of_effect.max_by_key(|one| (one.changed_at, one.id))
    };
    let by = last(Effect::Deny).or_else(|| last(Effect::Allow))?;
    Some(Decision { effect: by.effect, by, counted })
}

/// The ceiling of a subject.
#[derive(Clone, Debug)]
pub enum Ceiling {
    /// No level of the entitlements names the subject.
    Open,
    /// The value of a feature, and its level.
    Feature(Value, FeatureSource),
    /// A policy excludes the model.
    Excluded,
}

impl Ceiling {
    /// Returns whether the ceiling admits the subject. `false` and null are off.
    fn admits(&self) -> bool {
        match self {
            Self::Open => true,
            Self::Feature(value, _) => !matches!(value, Value::Bool(false) | Value::Null),
            Self::Excluded => false,
        }
    }
}

/// The source of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Scope(ScopeRef),
    Ceiling,
}

/// The result of the fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub allowed: bool,
    pub reason: Reason,
    pub from: Option<Source>,
    pub value: Map<String, Value>,
}

/// The conditions of the fold besides bindings.
#[derive(Clone, Debug)]
pub struct Conditions {
    pub ceiling: Ceiling,
    /// Whether a subject without a binding is allowed, as listings are.
    pub is_open: bool,
    pub active: bool,
}

/// Decides about a subject.
pub fn fold(kind: BindingKind, matching: &[&Bound], conditions: &Conditions) -> Outcome {
    let decision = decide(matching);
    let Conditions { ceiling, is_open, active } = conditions;
    let is_named = matches!(ceiling, Ceiling::Feature(..));
    let (reason, from) = match &decision {
        Some(by) if by.effect == Effect::Deny => (Reason::Denied, Some(Source::Scope(by.by.scope))),
        Some(by) => (Reason::Allowed, Some(Source::Scope(by.by.scope))),
        None if is_named => (Reason::Allowed, Some(Source::Ceiling)),
        None if *is_open => (Reason::Allowed, None),
        None => (Reason::NothingBound, None),
    };
    let (reason, from) = match reason {
        Reason::Allowed if !ceiling.admits() => (Reason::Ceiling, Some(Source::Ceiling)),
        Reason::Allowed if !active => (Reason::Inactive, from),
        reason => (reason, from),
    };
    let value = value(kind, decision.as_ref(), ceiling);
    Outcome { allowed: reason == Reason::Allowed, reason, from, value }
}

/// Returns the value of the deciding level, in the form of the kind.
fn value(
    kind: BindingKind,
    decision: Option<&Decision<'_>>,
    ceiling: &Ceiling,
) -> Map<String, Value> {
    let allow = decision.filter(|decision| decision.effect == Effect::Allow);
    let mut value = Map::new();
    match kind {
        BindingKind::Connection => {
            let manages = |one: &&Bound| one.value.get("can_manage") == Some(&json!(true));
            let can_manage = allow.is_some_and(|allow| allow.counted.iter().any(manages));
            value.insert("can_manage".into(), json!(can_manage));
        }
        BindingKind::Feature => {
            let config = allow.and_then(|allow| allow.by.value.get("config").cloned());
            value.insert("config".into(), config.unwrap_or_else(|| json!({})));
            if let Ceiling::Feature(own, _) = ceiling {
                value.insert("value".into(), own.clone());
            }
        }
        BindingKind::Agent | BindingKind::Guardrail | BindingKind::Listing | BindingKind::Model => {
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::scopes::ScopeKind;

    const LEVELS: usize = 5;
    const NAMES: [&str; 5] = ["gpt-4o", "gpt-4*", "gpt-*", "g*", "*"];

    fn bound() -> impl Strategy<Value = Bound> {
        let effect = prop::sample::select(Effect::ALL);
        let subject = prop::sample::select(&NAMES[..]);
        let rest = (any::<bool>(), any::<bool>(), 0..4_i64);
        (0..LEVELS, 0..3_u128, subject, effect, rest).prop_map(
            |(level, scope, subject, effect, (mandatory, can_manage, at))| Bound {
                id: Uuid::from_u128(scope),
                level,
                scope: ScopeRef {
                    kind: ScopeKind::Group,
                    id: Uuid::from_u128(scope + 10 * level as u128),
                },
                kind: BindingKind::Model,
                subject: subject.to_owned(),
                effect,
                mandatory,
                value: Map::from_iter([("can_manage".to_owned(), json!(can_manage))]),
                changed_at: DateTime::from_timestamp(at, 0).unwrap(),
            },
        )
    }

    /// A set of bindings: at most one for each scope and subject, as in the table.
    fn bindings() -> impl Strategy<Value = Vec<Bound>> {
        proptest::collection::vec(bound(), 0..10).prop_map(|bindings| {
            let mut seen = std::collections::HashSet::new();
            let is_new = |one: &Bound| seen.insert((one.scope, one.subject.clone()));
            let mut bindings = bindings;
            bindings.retain(is_new);
            for (n, one) in bindings.iter_mut().enumerate() {
                one.id = Uuid::from_u128(n as u128);
            }
            bindings
        })
    }

    fn with(bindings: &[Bound], mut more: Bound) -> Option<Vec<Bound>> {
        let is_same = |one: &Bound| (one.scope, &one.subject) == (more.scope, &more.subject);
        if bindings.iter().any(is_same) {
            return None;
        }
        more.id = Uuid::from_u128(99);
        let mut bindings = bindings.to_vec();
        bindings.push(more);
        Some(bindings)
    }

    fn effect(bindings: &[Bound]) -> Option<Effect> {
        let all: Vec<&Bound> = bindings.iter().collect();
        decide(&all).map(|decision| decision.effect)
    }

    fn level(bindings: &[Bound]) -> Option<usize> {
        let all: Vec<&Bound> = bindings.iter().collect();
        decide(&all).map(|decision| decision.by.level)
    }

    fn conditions() -> impl Strategy<Value = Conditions> {
        let value = prop_oneof![Just(json!(false)), Just(Value::Null), Just(json!(7))];
        let ceiling = prop_oneof![
            Just(Ceiling::Open),
            Just(Ceiling::Excluded),
            value.prop_map(|value| Ceiling::Feature(value, FeatureSource::Plan)),
        ];
        (ceiling, any::<bool>(), any::<bool>()).prop_map(|(ceiling, is_open, active)| Conditions {
            ceiling,
            is_open,
            active,
        })
    }

    proptest! {
        #[test]
        fn added_deny_never_allows(bindings in bindings(), mut more in bound()) {
            more.effect = Effect::Deny;
            if let Some(denied) = with(&bindings, more) {
                let was_allowed = effect(&bindings) == Some(Effect::Allow);
                prop_assert!(effect(&denied) == Some(Effect::Deny) || was_allowed);
            }
        }

        #[test]
        fn plain_allow_at_a_wider_level_changes_no_decision(
            bindings in bindings(),
            mut more in bound(),
        ) {
            (more.effect, more.mandatory) = (Effect::Allow, false);
            let Some(nearer) = level(&bindings) else { return Ok(()) };
            if more.level > nearer && let Some(allowed) = with(&bindings, more) {
                prop_assert_eq!(effect(&allowed), effect(&bindings));
            }
        }

        #[test]
        fn narrower_level_undoes_no_mandatory_binding(
            bindings in bindings(),
            more in bound(),
        ) {
            let widest = bindings.iter().filter(|one| one.mandatory).map(|one| one.level).max();
            let Some(widest) = widest else { return Ok(()) };
            if more.level < widest && let Some(narrower) = with(&bindings, more) {
                prop_assert_eq!(effect(&narrower), effect(&bindings));
            }
        }

        #[test]
        fn order_of_bindings_never_matters(
            (bindings, shuffled) in bindings().prop_flat_map(|bindings| {
                (Just(bindings.clone()), Just(bindings).prop_shuffle())
            }),
            conditions in conditions(),
        ) {
            let one: Vec<&Bound> = bindings.iter().collect();
            let other: Vec<&Bound> = shuffled.iter().collect();
            for kind in BindingKind::ALL {
                prop_assert_eq!(fold(*kind, &one, &conditions), fold(*kind, &other, &conditions));
            }
        }

        #[test]
        fn ceiling_and_inactivity_only_remove(
            bindings in bindings(),
            conditions in conditions(),
        ) {
            let all: Vec<&Bound> = bindings.iter().collect();
            let open = Conditions { ceiling: Ceiling::Open, active: true, ..conditions.clone() };
            let under = fold(BindingKind::Model, &all, &conditions);
            let without = fold(BindingKind::Model, &all, &open);
            // Without a binding, a feature is what the ceiling states.
            let is_named = matches!(conditions.ceiling, Ceiling::Feature(..));
            if !bindings.is_empty() || !is_named {
                prop_assert!(without.allowed || !under.allowed);
            }
            prop_assert!(conditions.active || !under.allowed);
            prop_assert!(conditions.ceiling.admits() || !under.allowed);
        }

        #[test]
        fn unbound_subject_stays_denied(active in any::<bool>()) {
            let conditions = Conditions { ceiling: Ceiling::Open, is_open: false, active };
            for kind in BindingKind::ALL {
                let outcome = fold(*kind, &[], &conditions);
                prop_assert_eq!(outcome.reason, Reason::NothingBound);
                prop_assert!(!outcome.allowed);
            }
        }
    }
}
