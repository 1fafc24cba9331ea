//! The mapping of Keygen's resources to lines.

use std::collections::BTreeMap;

use cp_contracts::{LicenseKey, LicenseKeyError};
use serde_json::{Map, Value, json};

use super::documents::{Documents, Resource};
use super::policies::{self, Caps, code_of, overage_of};
use crate::kernel::text::{Email, Name, Reference};

/// The pool of the machines.
const POOL: &str = "machines";
/// Limits of policies and licenses that are not limits of this product.
const LIMITS: [&str; 5] = ["maxCores", "maxUses", "maxProcesses", "maxMemory", "maxDisk"];
/// Rules of policies that this product does not have.
const RULES: [&str; 4] = ["requireCheckIn", "requireHeartbeat", "usePool", "encrypted"];
/// Strategies of policies, with the values that this product has: here an expired license has no seats, and
/// a machine is known by its whole fingerprint.
const STRATEGIES: [(&str, &[&str]); 3] = [
    ("expirationStrategy", &["RESTRICT_ACCESS", "REVOKE_ACCESS"]),
    ("machineMatchingStrategy", &["MATCH_ANY", "MATCH_ALL"]),
    (
        "overageStrategy",
        &[
            "NO_OVERAGE",
            "ALLOW_1_25X_OVERAGE",
            "ALLOW_1_5X_OVERAGE",
            "ALLOW_2X_OVERAGE",
            "ALWAYS_ALLOW_OVERAGE",
        ],
    ),
];
/// The characters of a key that this product accepts.
const KEY: std::ops::RangeInclusive<usize> = 8..=512;

/// The lines of an import, and what has no equivalent.
#[derive(Debug)]
pub(in crate::cli::import) struct Converted {
    pub(in crate::cli::import) lines: Vec<String>,
    pub(in crate::cli::import) gaps: Vec<String>,
}

/// Returns the lines in the order in which they refer to each other.
pub(super) fn of(documents: &Documents, gaps: Vec<String>) -> Converted {
    let (caps, left_out) = policies::read(documents);
    let mut lines = Lines { documents, caps, converted: Converted { lines: Vec::new(), gaps } };
    for (policy, why) in left_out {
        lines.gap("policy", policy, &why);
    }
    documents.policies.values().for_each(|policy| lines.plan(policy));
    documents.users.values().for_each(|user| lines.user(user));
    let mut holders = BTreeMap::new();
    for license in documents.licenses.values() {
        if let Some(holder) = lines.holder(license) {
            holders.insert(license.id.clone(), holder);
        }
    }
    let mut organizations: Vec<&Holder> = holders.values().collect();
    organizations.sort_by(|a, b| a.external_id.cmp(&b.external_id));
    organizations.dedup_by(|a, b| a.external_id == b.external_id);
    organizations.iter().for_each(|holder| lines.organization(holder));
    for (license, holder) in &holders {
        lines.license(&documents.licenses[license], holder);
    }
    for machine in documents.machines.values() {
        let license = machine.related(&["license"]).unwrap_or_default();
        lines.machine(machine, holders.get(license));
    }
    lines.converted
}

/// The organization that holds a license, its plan, and the values of the license.
struct Holder {
    external_id: String,
    name: String,
    owner: Option<String>,
    plan: String,
    caps: Caps,
    /// The overage of the pool of the machines.
    overage: Value,
}

/// Whether a license is suspended, or its user is banned.
fn is_suspended(license: &Resource) -> bool {
    let status = license.text("status").unwrap_or_default();
    license.is("suspended") || ["SUSPENDED", "BANNED"].contains(&status)
}

struct Lines<'d> {
    documents: &'d Documents,
    /// The caps of the policies that become plans, by ID.
    caps: BTreeMap<&'d str, Caps>,
    converted: Converted,
}

impl Lines<'_> {
    fn plan(&mut self, policy: &Resource) {
        let Some(caps) = self.caps.get(&*policy.id).copied() else { return };
        let mut pool = json!({"kind": "node", "cap": caps.machines});
        if let Some(overage) = overage_of(policy).filter(|_| caps.machines.is_some()) {
            pool["overage"] = overage;
        }
        self.line(json!({
            "kind": "plan",
            "code": code_of(&policy.id),
            "name": name_of(policy.text("name"), "Policy", &policy.id),
            "is_public": false,
            // Seats of people. Keygen's policies have any number of users unless they limit it.
            "seat_cap": caps.users.unwrap_or(1),
            "leasing": {POOL: pool},
        }));
        self.add_losses("policy", policy);
        for (name, known) in STRATEGIES {
            if let Some(value) = policy.text(name).filter(|value| !known.contains(value)) {
                self.gap("policy", policy, &format!("`{name}` {value} has no equivalent"));
            }
        }
        if policy.text("scheme").is_some() {
            self.gap(
                "policy",
                policy,
                "`scheme`: keys stay valid, and their signatures are not checked",
            );
        }
    }

    fn user(&mut self, user: &Resource) {
        let Some(email) = email_of(user) else {
            return self.gap("user", user, "the user has no valid e-mail address");
        };
        let full = [user.text("firstName"), user.text("lastName")];
        let full = full.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let name = user.text("fullName").unwrap_or(&full);
        let mut line = json!({
            "kind": "user",
            "email": email,
            "external_id": user.id,
            "is_active": user.text("status") != Some("BANNED"),
        });
        if name.parse::<Name>().is_ok() {
            line["display_name"] = name.into();
        }
        self.line(line);
        if user.text("role").is_some_and(|role| role != "user") {
            self.gap("user", user, "`role` has no equivalent: grant a role by hand");
        }
    }

    /// Returns the holder of a license; `None` for a license that is not converted.
    fn holder(&mut self, license: &Resource) -> Option<Holder> {
        let policy = license.related(&["policy"]).and_then(|id| self.documents.policies.get(id));
        let Some(policy) = policy else {
            self.gap(
                "license",
                license,
                "its policy is not in the export: the license is left out",
            );
            return None;
        };
        let Some(of_policy) = self.caps.get(&*policy.id).copied() else {
            self.gap("license", license, "its policy is left out: the license is left out");
            return None;
        };
        let caps = match Caps::of(license) {
            Ok(own) => own.or(of_policy),
            Err(why) => {
                self.gap("license", license, &format!("{why}: the license is left out"));
                return None;
            }
        };
        let owner = license.related(&["owner", "user"]);
        let plan = code_of(&policy.id);
        let overage = overage_of(policy).unwrap_or_else(|| "never".into());
        let Some(owner) = owner else {
            let name = name_of(license.text("name"), "License", &license.id);
            let external_id = license.id.clone();
            return Some(Holder { external_id, name, owner: None, plan, caps, overage });
        };
        let user = self.documents.users.get(owner);
        if user.is_none() {
            self.gap("license", license, "its owner is not in the export");
        }
        let email = user.and_then(email_of);
        let name = user.and_then(|user| user.text("fullName")).or(email.as_deref());
        let policy_name = policy.text("name").unwrap_or(&policy.id);
        let name = name_of(name, "Owner", owner);
        let whole = format!("{name} ({policy_name})");
        let name = if whole.parse::<Name>().is_ok() { whole } else { name };
        let external_id = format!("{owner}:{}", policy.id);
        Some(Holder { external_id, name, owner: email, plan, caps, overage })
    }

    fn organization(&mut self, holder: &Holder) {
        let mut line = json!({
            "kind": "organization", "external_id": holder.external_id, "name": holder.name,
        });
        if let Some(owner) = &holder.owner {
            line["owner"] = owner.as_str().into();
        }
        self.line(line);
        self.line(json!({
            "kind": "subscription", "organization": holder.external_id,
            "external_id": holder.external_id, "plan": holder.plan,
        }));
    }

    fn license(&mut self, license: &Resource, holder: &Holder) {
        let organization = holder.external_id.as_str();
        let name = name_of(license.text("name"), "License", &license.id);
        self.line(json!({
            "kind": "deployment", "organization": organization, "external_id": license.id,
            "name": deployment_name(&name, &license.id), "type": "onprem",
        }));
        let mut line = json!({
            "kind": "license", "organization": organization, "deployment": license.id,
            "subscription": organization, "name": name,
        });
        if let Some(created) = license.text("created") {
            line["valid_from"] = created.into();
        }
        // What the license does not have, a later export takes back.
        line["valid_until"] = license.text("expiry").into();
        if !is_suspended(license) {
            line["status"] = "active".into();
        }
        if let Some(metadata) = license.attributes.get("metadata").filter(|value| is_filled(value))
        {
            line["metadata"] = metadata.clone();
        }
        let Caps { machines, users } = holder.caps;
        line["leasing"] = json!({POOL: {"cap": machines, "overage": holder.overage}});
        // Without a limit of users, the license keeps the seats that it has.
        if let Some(users) = users {
            line["seat_cap"] = users.into();
            // The subscription has the seats of an earlier version of the plan.
            line["allow_more_seats"] = true.into();
        }
        self.line(line);
        self.add_losses("license", license);
        match license.text("key") {
            Some(key) if is_mistyped(key) => {
                let why = "its key has the form of this product's keys, with a wrong check symbol";
                self.gap("license", license, why);
            }
            Some(key) if KEY.contains(&key.chars().count()) => self.line(json!({
                "kind": "license_key", "organization": organization, "deployment": license.id,
                "subscription": organization, "key": key,
            })),
            Some(_) => {
                let why = "its key has less than 8 or more than 512 characters";
                self.gap("license", license, why);
            }
            None => self.gap("license", license, "the export does not have its key"),
        }
        // The last line: a suspended license takes no key.
        if is_suspended(license) {
            self.line(json!({
                "kind": "license", "organization": organization, "deployment": license.id,
                "subscription": organization, "status": "suspended",
                "status_reason": "Suspended at Keygen.",
            }));
        }
    }

    fn machine(&mut self, machine: &Resource, holder: Option<&Holder>) {
        let (Some(holder), Some(license)) = (holder, machine.related(&["license"])) else {
            return self.gap("machine", machine, "its license is left out");
        };
        let status = self.documents.licenses.get(license);
        if status.is_some_and(is_suspended) {
            return self.gap("machine", machine, "its license is suspended: it has no seat");
        }
        if status.is_some_and(|license| license.text("status") == Some("EXPIRED")) {
            return self.gap("machine", machine, "its license has expired: it has no seat");
        }
        let fingerprint =
            machine.text("fingerprint").filter(|text| text.parse::<Reference>().is_ok());
        let Some(fingerprint) = fingerprint else {
            return self.gap(
                "machine",
                machine,
                "its fingerprint must have 1 to 255 printable characters",
            );
        };
        let mut meta = Map::new();
        for name in ["hostname", "platform"] {
            if let Some(text) = machine.text(name).filter(|text| text.len() <= 255) {
                meta.insert(name.to_owned(), text.into());
            }
        }
        let organization = holder.external_id.as_str();
        self.line(json!({
            "kind": "lease", "organization": organization, "deployment": license,
            "subscription": organization, "pool": POOL, "machine": fingerprint,
            "label": name_of(machine.text("name").or(machine.text("hostname")), "Machine", &machine.id),
            "meta": meta,
        }));
    }

    /// Lists the limits and rules that have no equivalent.
    fn add_losses(&mut self, noun: &str, resource: &Resource) {
        let limits = LIMITS.iter().filter(|name| resource.has(name));
        let rules = RULES.iter().filter(|name| noun == "policy" && resource.is(name));
        let lost: Vec<String> = limits.chain(rules).map(|name| format!("`{name}`")).collect();
        match lost.len() {
            0 => {}
            1 => self.gap(noun, resource, &format!("{} has no equivalent", lost[0])),
            _ => self.gap(noun, resource, &format!("{} have no equivalent", lost.join(", "))),
        }
    }

    fn line(&mut self, line: Value) {
        self.converted.lines.push(line.to_string());
    }

    fn gap(&mut self, noun: &str, resource: &Resource, what: &str) {
        self.converted.gaps.push(format!("{noun} {}: {what}", resource.id));
    }
}

/// Whether the text has the form of this product's license keys, which have a check symbol, and is none.
fn is_mistyped(key: &str) -> bool {
    matches!(LicenseKey::parse(key, None), Err(LicenseKeyError::Checksum))
}

/// Returns a display name, or one from the ID.
fn name_of(name: Option<&str>, noun: &str, id: &str) -> String {
    match name.filter(|name| name.parse::<Name>().is_ok()) {
        Some(name) => name.to_owned(),
        None => format!("{noun} {}", id.get(..8).unwrap_or(id)),
    }
}

/// Returns a name that no other deployment of the organization has. Licenses may share a name.
fn deployment_name(license: &str, id: &str) -> String {
    let short = id.get(..8).unwrap_or(id);
    let whole = format!("{license} ({short})");
    match whole.parse::<Name>() {
        Ok(_) if !license.ends_with(short) => whole,
        Ok(_) => license.to_owned(),
        Err(_) => format!("License {short}"),
    }
}

fn email_of(user: &Resource) -> Option<String> {
    let email = user.text("email")?;
    email.parse::<Email>().ok().map(|_| email.to_owned())
}

fn is_filled(value: &Value) -> bool {
    value.as_object().is_some_and(|members| !members.is_empty())
}
