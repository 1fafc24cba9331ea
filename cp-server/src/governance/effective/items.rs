//! The items of an effective answer: the fold over the facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::facts::{Facts, ITEMS, Named, Question};
use super::fold::{self, Bound, Ceiling, Conditions, Outcome, Reason, Source, fold};
use crate::governance::bindings::kinds::{BindingKind, Effect};
use crate::governance::ids::ResourceId;
use crate::governance::resources::kinds::ResourceKind;
use crate::identity::scopes::ScopeRef;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::licensing::entitlement::models::{ModelPolicies, admit, matches};
use crate::licensing::entitlement::organization_entitlements::is_code;
use crate::licensing::entitlement::{Explained, FeatureSource};

/// A subject, and whether it may be used.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EffectiveItem")]
pub struct Item {
    kind: BindingKind,
    /// A resource's ID, the name of a model, or the code of a feature.
    subject: String,
    /// The key of a resource.
    key: Option<String>,
    /// The name of a resource.
    name: Option<String>,
    allowed: bool,
    /// `{can_manage}` of a connection, `{config, value}` of a feature.
    value: Map<String, Value>,
    reason: Reason,
    /// The scope that decided, or `ceiling`.
    resolved_from: Option<String>,
    /// The value of the entitlements for a feature; the policy that excludes a model.
    ceiling: Option<CeilingValue>,
    /// All bindings of the subject, nearest first. Only callers with `bindings:read` see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Candidate>>,
    /// The `spec` of an allowed agent or connection, on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<Object>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct CeilingValue {
    value: Value,
    /// `plan`, `subscription`, `organization` or `policy`.
    from: String,
}

/// A binding of the subject.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Candidate {
    scope: ScopeRef,
    effect: Effect,
    mandatory: bool,
    value: Map<String, Value>,
}

/// A guardrail that applies.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AppliedGuardrail {
    id: ResourceId,
    key: String,
    name: String,
    spec: Object,
    mandatory: bool,
    /// The scopes that allow the guardrail, nearest first.
    from: Vec<ScopeRef>,
    patterns: Vec<AppliedPattern>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct AppliedPattern {
    id: ResourceId,
    name: String,
    regex: Value,
    r#type: Value,
    action: Value,
}

/// A listing that a person sees.
#[derive(Clone, Copy, Debug)]
pub struct SeenListing {
    pub id: ResourceId,
    /// The scope whose binding grants the listing; `None` when all people see it.
    pub matched: Option<ScopeRef>,
}

/// The facts, arranged for the fold.
pub struct Arranged<'f> {
    facts: &'f Facts,
    exact: HashMap<(BindingKind, &'f str), Vec<&'f Bound>>,
    prefixes: Vec<&'f Bound>,
    features: BTreeMap<String, Explained<Value>>,
    models: ModelPolicies,
    active: bool,
    /// Whether the caller sees items that are not allowed, and the bindings.
    is_privileged: bool,
}

impl<'f> Arranged<'f> {
    pub fn new(facts: &'f Facts, active: bool, is_privileged: bool) -> Self {
        let mut exact: HashMap<(BindingKind, &str), Vec<&Bound>> = HashMap::new();
        let mut prefixes = Vec::new();
        for bound in &facts.bindings {
            if bound.kind == BindingKind::Model && bound.subject.ends_with('*') {
                prefixes.push(bound);
            }
            exact.entry((bound.kind, &bound.subject)).or_default().push(bound);
        }
        let entitlements = &facts.whole.entitlements;
        let models = entitlements.organization_models.as_ref();
        Self {
            facts,
            exact,
            prefixes,
            features: entitlements.features(),
            models: models.map(|models| models.0.clone()).unwrap_or_default(),
            active,
            is_privileged,
        }
    }

    /// Returns the bindings that match the subject, nearest first.
    fn matching(&self, kind: BindingKind, subject: &str) -> Vec<&'f Bound> {
        let mut found = self.exact.get(&(kind, subject)).cloned().unwrap_or_default();
        if kind == BindingKind::Model {
            let is_wider = |one: &&&Bound| one.subject != subject && matches(&one.subject, subject);
            found.extend(self.prefixes.iter().filter(is_wider).copied());
        }
        found.sort_by_key(|one| (one.level, one.scope.id, one.id));
        found
    }

    /// Returns the items of the question, by kind and subject.
    ///
    /// # Errors
    /// 422 at `kinds` when there are too many.
    pub fn items(&self, of: &Question) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut subjects: BTreeSet<(&'static str, String)> = BTreeSet::new();
        let resources: HashMap<String, &Named> = self.resources();
        for kind in &of.kinds {
            let of_kind = self.subjects(*kind, of, &resources);
            subjects.extend(of_kind.into_iter().map(|subject| (kind.as_str(), subject)));
        }
        // Resources beyond that number were not read.
        if subjects.len() > ITEMS || self.facts.resources.len() > ITEMS {
            let detail = format!(
                "`kinds` must select at most {ITEMS} items. Ask for fewer kinds, or for one subject."
            );
            return Err(Error::invalid("kinds", detail));
        }
        for (kind, subject) in subjects {
            let Ok(kind) = kind.parse::<BindingKind>() else { continue };
            let named =
                resources.get(&subject).copied().filter(|one| kind.resource() == Some(one.kind));
            items.extend(self.item(kind, subject, named, of));
        }
        Ok(items)
    }

    /// Returns the listings that the person sees.
    ///
    /// # Errors
    /// 422 at `product` when there are too many.
    pub fn listings(&self) -> Result<Vec<SeenListing>> {
        let (kind, published) = (BindingKind::Listing, self.resources());
        if self.facts.resources.len() > ITEMS {
            let detail = format!("`product` must select at most {ITEMS} listings.");
            return Err(Error::invalid("product", detail));
        }
        let seen = published.iter().filter_map(|(subject, one)| {
            let conditions = Conditions {
                ceiling: Ceiling::Open,
                is_open: is_open(kind, Some(one)),
                active: self.active,
            };
            let outcome = fold(kind, &self.matching(kind, subject), &conditions);
            let matched = outcome.from.and_then(|from| match from {
                Source::Scope(scope) => Some(scope),
                Source::Ceiling => None,
            });
            outcome.allowed.then_some(SeenListing { id: one.id, matched })
        });
        Ok(seen.collect())
    }

    /// The agents, connections and published listings, by ID.
    fn resources(&self) -> HashMap<String, &'f Named> {
        let is_shown = |one: &&Named| {
            let published = || one.spec.as_ref().and_then(|spec| spec.get("published"));
            one.kind != ResourceKind::Listing || published() == Some(&json!(true))
        };
        let shown = self.facts.resources.iter().filter(is_shown);
        shown.map(|one| (one.id.to_string(), one)).collect()
    }

    fn subjects(
        &self,
        kind: BindingKind,
        of: &Question,
        resources: &HashMap<String, &Named>,
    ) -> Vec<String> {
        if let Some(subject) = &of.subject {
            let id = subject.parse::<ResourceId>();
            return match (kind, id) {
                (BindingKind::Guardrail, _) => Vec::new(),
                (BindingKind::Model, Err(_)) => vec![subject.clone()],
                (BindingKind::Feature, Err(_)) if is_code(subject) => vec![subject.clone()],
                (BindingKind::Model | BindingKind::Feature, _) => Vec::new(),
                (_, Ok(id)) => vec![id.to_string()],
                (_, Err(_)) => Vec::new(),
            };
        }
        let bound = || {
            let of_kind = self.exact.keys().filter(|(own, _)| *own == kind);
            of_kind.map(|(_, subject)| (*subject).to_owned())
        };
        match kind {
            BindingKind::Model => bound().collect(),
            BindingKind::Feature => bound().chain(self.features.keys().cloned()).collect(),
            BindingKind::Guardrail => Vec::new(),
            BindingKind::Agent | BindingKind::Connection | BindingKind::Listing => {
                let of_kind = resources.iter().filter(|(_, one)| Some(one.kind) == kind.resource());
                of_kind.map(|(id, _)| id.clone()).collect()
            }
        }
    }

    /// Returns the item; `None` when it is hidden from the caller.
    fn item(
        &self,
        kind: BindingKind,
        subject: String,
        named: Option<&Named>,
        of: &Question,
    ) -> Option<Item> {
        let exists = kind.resource().is_none() || named.is_some();
        // Disabled and unpublished resources do not exist for the fold.
        let matching = if exists { self.matching(kind, &subject) } else { Vec::new() };
        let ceiling = self.ceiling(kind, &subject, &of.product);
        let conditions = Conditions { ceiling, is_open: is_open(kind, named), active: self.active };
        let outcome = fold(kind, &matching, &conditions);
        if !outcome.allowed && !self.is_privileged {
            // A hidden item reads like a missing one; only a named subject is answered.
            let is_asked = of.subject.is_some();
            return is_asked.then(|| Item::missing(kind, subject));
        }
        let Outcome { allowed, reason, from, value } = outcome;
        let spec = named.and_then(|one| one.spec.clone());
        let has_spec = of.with_spec && allowed && kind != BindingKind::Listing;
        Some(Item {
            kind,
            subject,
            key: named.map(|one| one.key.clone()),
            name: named.map(|one| one.name.clone()),
            allowed,
            value,
            reason,
            resolved_from: from.map(|from| match from {
                Source::Scope(scope) => scope.to_string(),
                Source::Ceiling => "ceiling".to_owned(),
            }),
            ceiling: CeilingValue::of(conditions.ceiling),
            candidates: self
                .is_privileged
                .then(|| matching.into_iter().map(Candidate::of).collect()),
            spec: spec.filter(|_| has_spec),
        })
    }

    fn ceiling(&self, kind: BindingKind, subject: &str, product: &str) -> Ceiling {
        match kind {
            BindingKind::Feature => self.features.get(subject).map_or(Ceiling::Open, |feature| {
                Ceiling::Feature(feature.value.clone(), feature.from)
            }),
            BindingKind::Model if !admit(&self.models, product, subject) => Ceiling::Excluded,
            _ => Ceiling::Open,
        }
    }

    /// Returns the guardrails that apply, by key. Inactivity removes none: off never means unguarded.
    pub fn guardrails(&self, of: &Question) -> Vec<AppliedGuardrail> {
        let mut applied = Vec::new();
        for preset in &self.facts.guardrails {
            let subject = preset.id.to_string();
            if of.subject.as_ref().is_some_and(|asked| *asked != subject) {
                continue;
            }
            let matching = self.matching(BindingKind::Guardrail, &subject);
            let decision = fold::decide(&matching);
            if decision.is_none_or(|decision| decision.effect == Effect::Deny) {
                continue;
            }
            let allows = matching.iter().filter(|one| one.effect == Effect::Allow);
            let patterns = self.facts.patterns.iter().filter(|one| one.parent == Some(preset.id));
            let mut patterns: Vec<_> = patterns.map(AppliedPattern::of).collect();
            patterns.sort_by_key(|pattern| pattern.id);
            applied.push(AppliedGuardrail {
                id: preset.id,
                key: preset.key.clone(),
                name: preset.name.clone(),
                spec: preset.spec.clone().unwrap_or_default(),
                mandatory: allows.clone().any(|one| one.mandatory),
                from: allows.map(|one| one.scope).collect(),
                patterns,
            });
        }
        applied.sort_by(|a, b| a.key.cmp(&b.key));
        applied
    }
}

/// Returns whether the subject is allowed without a binding: a listing that no binding grants.
fn is_open(kind: BindingKind, named: Option<&Named>) -> bool {
    kind == BindingKind::Listing && named.is_some_and(|one| !one.is_granted)
}

impl Item {
    /// Returns the answer about a subject that does not exist for the caller.
    fn missing(kind: BindingKind, subject: String) -> Self {
        let nothing = Conditions { ceiling: Ceiling::Open, is_open: false, active: true };
        let Outcome { allowed, reason, value, .. } = fold(kind, &[], &nothing);
        Self {
            kind,
            subject,
            key: None,
            name: None,
            allowed,
            value,
            reason,
            resolved_from: None,
            ceiling: None,
            candidates: None,
            spec: None,
        }
    }
}

impl CeilingValue {
    fn of(ceiling: Ceiling) -> Option<Self> {
        match ceiling {
            Ceiling::Open => None,
            Ceiling::Feature(value, from) => {
                Some(Self { value, from: FeatureSource::to_string(&from) })
            }
            Ceiling::Excluded => Some(Self { value: json!(false), from: "policy".to_owned() }),
        }
    }
}

impl Candidate {
    fn of(bound: &Bound) -> Self {
        let (scope, effect, mandatory) = (bound.scope, bound.effect, bound.mandatory);
        Self { scope, effect, mandatory, value: bound.value.clone() }
    }
}

impl AppliedPattern {
    fn of(pattern: &Named) -> Self {
        let member = |name: &str| {
            pattern.spec.as_ref().and_then(|spec| spec.get(name).cloned()).unwrap_or_default()
        };
        Self {
            id: pattern.id,
            name: pattern.name.clone(),
            regex: member("regex"),
            r#type: member("type"),
            action: member("action"),
        }
    }
}
