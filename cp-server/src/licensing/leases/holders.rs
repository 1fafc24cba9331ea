//! Holders: people, machines, and other names of those who have a seat.

use std::collections::BTreeMap;

use cp_contracts::ProblemCode;
use dp_verifier::{component_hash, holder_hash};
use schemars::JsonSchema;
use serde::Deserialize;

use super::rows::HolderKind;
use super::settings::PoolKind;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::text::{Email, ProviderKey, Reference, Subject};
use crate::licensing::ids::LicenseId;

crate::texts! {
    /// A hashed fingerprint or component: 16 to 255 characters of base64url.
    Hashed, |text| {
        let fits = (16..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if fits { Ok(text.into()) } else {
            Err("must have 16 to 255 characters of base64url: the verifier hashes it".into())
        }
    }, {"type": "string", "minLength": 16, "maxLength": 255, "pattern": "^[A-Za-z0-9_-]+$",
        "examples": ["mUqGkTOa6S1yZ6cV0GmzXAcN2xTqPq8qgYwzq1hXbYE"]};
}

/// The most components of a machine.
const MOST_COMPONENTS: usize = 32;

/// Who has the seat: exactly one of `user_id`, `email`, `provider` with `subject`, `fingerprint`, and
/// `id`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHolder {
    /// The person: an active member of the organization.
    user_id: Option<UserId>,
    /// The person's e-mail address. An unknown address also holds a seat.
    email: Option<Email>,
    /// The key of the identity provider of `subject`.
    provider: Option<ProviderKey>,
    /// The person's identifier at the provider. An unknown one also holds a seat.
    subject: Option<Subject>,
    /// The machine's fingerprint, which the verifier has hashed.
    fingerprint: Option<Hashed>,
    /// The machine's components by name, which the verifier has hashed, at most 32. Only with a
    /// `fingerprint` and in a node pool.
    components: Option<BTreeMap<Reference, Hashed>>,
    /// Any name that the caller gives the holder.
    id: Option<Reference>,
}

/// A resolved holder.
#[derive(Clone, Debug)]
pub struct Holder {
    pub kind: HolderKind,
    pub user: Option<UserId>,
    /// The hash that identifies the holder within the license.
    pub hash: String,
    /// The hashes of the components, sorted.
    pub components: Vec<String>,
}

impl NewHolder {
    /// Finds the holder. A known person is the same holder, whatever names it.
    ///
    /// # Errors
    /// Fails with 422 at `holder` unless exactly one name is given that the pool allows, and with 404
    /// for a person who is not an active member.
    pub async fn resolve(
        self,
        tx: &mut Conn,
        organization: OrganizationId,
        license: LicenseId,
        pool: PoolKind,
    ) -> Result<Holder> {
        self.check(pool)?;
        let (mut kind, mut text) = self.named();
        let user = match kind {
            HolderKind::User => Some(self.member(tx, organization).await?),
            HolderKind::Email | HolderKind::Subject => self.known(tx, organization).await?,
            HolderKind::Fingerprint | HolderKind::Id => None,
        };
        if let Some(user) = user {
            (kind, text) = (HolderKind::User, user.to_string());
        }
        let components = self.components.into_iter().flatten();
        let mut components: Vec<String> = components
            .map(|(name, value)| component_hash(license.0, name.as_str(), value.as_str()))
            .collect();
        components.sort();
        Ok(Holder { kind, user, hash: holder_hash(license.0, kind.as_str(), &text), components })
    }

    fn check(&self, pool: PoolKind) -> Result<()> {
        let refused = |detail: &str| Err(Error::invalid("holder", detail.to_owned()));
        let names = [
            self.user_id.is_some(),
            self.email.is_some(),
            self.subject.is_some(),
            self.fingerprint.is_some(),
            self.id.is_some(),
        ];
        if names.iter().filter(|is_given| **is_given).count() != 1
            || self.provider.is_some() != self.subject.is_some()
        {
            return refused(
                "`holder` must have exactly one of `user_id`, `email`, `provider` with `subject`, \
                 `fingerprint`, and `id`.",
            );
        }
        let is_machine = self.fingerprint.is_some();
        match pool {
            PoolKind::Node if !is_machine => {
                return refused("`holder` must have a `fingerprint`: the pool is for machines.");
            }
            PoolKind::Seat if is_machine => {
                return refused("`holder` must not have a `fingerprint`: the pool is for people.");
            }
            _ => {}
        }
        if self.components.is_some() && pool != PoolKind::Node {
            return refused(
                "`holder` must not have `components`: only machines of a node pool do.",
            );
        }
        match self.components.as_ref().map(BTreeMap::len) {
            Some(count) if count > MOST_COMPONENTS => {
                let rule = format!("at most {MOST_COMPONENTS} `components` (got {count})");
                refused(&format!("`holder` must have {rule}."))
            }
            _ => Ok(()),
        }
    }

    fn named(&self) -> (HolderKind, String) {
        if let Some(user) = self.user_id {
            return (HolderKind::User, user.to_string());
        }
        if let Some(email) = &self.email {
            return (HolderKind::Email, email.as_str().to_lowercase());
        }
        if let (Some(provider), Some(subject)) = (&self.provider, &self.subject) {
            let text = format!("{}|{}", provider.as_str(), subject.as_str());
            return (HolderKind::Subject, text);
        }
        if let Some(fingerprint) = &self.fingerprint {
            return (HolderKind::Fingerprint, fingerprint.as_str().to_owned());
        }
        let id = self.id.as_ref().map(Reference::as_str).unwrap_or_default();
        (HolderKind::Id, id.to_owned())
    }

    /// Returns the active member with the request's ID.
    async fn member(&self, tx: &mut Conn, organization: OrganizationId) -> Result<UserId> {
        let sql = "SELECT u.id AS user_id, m.status = 'active' AND u.is_active AS is_active
                   FROM users u JOIN memberships m ON m.user_id = u.id AND m.organization_id = $2
                        AND m.scope = 'organization'
                   WHERE u.id = $1
                   ORDER BY 2 DESC LIMIT 1";
        let found: Option<Member> = tx.q(sql).bind(self.user_id).bind(organization).opt().await?;
        found.and_then(Member::active).ok_or_else(absent)
    }

    /// Returns the member with the request's address or subject, if the organization has one.
    async fn known(&self, tx: &mut Conn, organization: OrganizationId) -> Result<Option<UserId>> {
        let by_email = "SELECT u.id AS user_id, m.status = 'active' AND u.is_active AS is_active
                        FROM users u
                        JOIN memberships m ON m.user_id = u.id AND m.organization_id = $2
                        AND m.scope = 'organization'
                        WHERE u.email_key = $1
                        ORDER BY 2 DESC LIMIT 1";
        // If the platform and the organization link the subject, the organization's link decides.
        let by_subject = "SELECT u.id AS user_id, m.status = 'active' AND u.is_active AS is_active
                          FROM auth_accounts a
                          JOIN users u ON u.id = a.user_id
                          JOIN memberships m ON m.user_id = u.id AND m.organization_id = $2
                        AND m.scope = 'organization'
                          WHERE a.provider = $1 AND a.subject = $3
                            AND (a.organization_id IS NULL OR a.organization_id = $2)
                          ORDER BY a.organization_id IS NULL, 2 DESC LIMIT 1";
        let query = match (&self.email, &self.provider, &self.subject) {
            (Some(email), ..) => {
                tx.q(by_email).bind(email.as_str().to_lowercase()).bind(organization)
            }
            (_, Some(provider), Some(subject)) => {
                tx.q(by_subject).bind(provider).bind(organization).bind(subject)
            }
            _ => return Ok(None),
        };
        match query.opt::<Member>().await? {
            Some(member) => member.active().ok_or_else(absent).map(Some),
            None => Ok(None),
        }
    }
}

#[derive(sqlx::FromRow)]
struct Member {
    user_id: UserId,
    is_active: bool,
}

impl Member {
    fn active(self) -> Option<UserId> {
        self.is_active.then_some(self.user_id)
    }
}

fn absent() -> Error {
    let detail = "The holder is not an active member of the organization.";
    Error::new(ProblemCode::NotFound, detail).at("holder")
}
