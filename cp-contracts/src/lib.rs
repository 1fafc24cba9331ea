//! The contract between a license control plane and its data planes.
//!
//! The control plane signs [`DeploymentLicenseClaims`] into a license token and returns it in a
//! [`LicenseBundleResponse`]. It resolves an identity to a person with a [`WhoAmIResponseV1`] or
//! [`WhoAmIResponseV2`], revokes and suspends licenses in [`StatusListClaims`], and reports errors
//! as a [`Problem`]. A person or a machine holds a seat by a [`Lease`], and [`LeasePool`] has the
//! rules of the seats. A [`LicenseKey`] is the form of a license that people type. Without a
//! network, a file of [`LicenseFileClaims`] goes to the data plane and a [`UsageReport`] comes back.
//! An [`Event`] reports to other systems what happened.
//!
//! This crate has types, their encodings and rules only: no I/O, no cryptography, no clock. To check
//! a token, use `dp-verifier`.
//!
//! # Rules of the contract
//!
//! - Import from the crate root. There is no other path.
//! - Within a major version, versions only add members. They change and remove none.
//! - A reader keeps unknown members. Every object has `extra`, which stores the members that this
//!   version does not name and writes them back. Every enumeration has an `Other` value.
//! - `null` and an absent member mean the same wherever a member is optional.
//! - Construct types with all their fields, so that the compiler shows an issuer the members of a
//!   new version; match with `..`.
//!
//! ```
//! use cp_contracts::DeploymentLicenseClaims;
//!
//! let text = include_str!("../golden/2.11.0/license_claims.json");
//! let claims: DeploymentLicenseClaims = serde_json::from_str(text)?;
//! assert_eq!(claims.license.plan.code, "enterprise");
//! assert_eq!(claims.license.features["alerts_enabled"], true);
//! # Ok::<(), serde_json::Error>(())
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod bundle;
mod check_in;
mod claims;
mod event;
mod jwk;
mod lease;
mod lease_pace;
mod lease_pool;
mod lease_token;
mod license_file;
mod license_key;
mod license_token;
mod open_enum;
mod pool;
mod problem;
mod status_list;
mod timestamp;
mod usage_report;
mod validation;
mod version;
mod whoami;

pub use bundle::LicenseBundleResponse;
pub use check_in::{CheckIn, CheckInCode};
pub use claims::{
    DeploymentClaims, DeploymentLicenseClaims, DeploymentType, Enforcement, LicenseBodyClaims,
    OnStale, OrganizationClaims, PlanClaims, StatusClaim, StatusListRef, SubscriptionClaims,
};
pub use event::{Event, EventActor, EventTarget, WebhookPayload};
pub use jwk::{Jwk, JwkSet};
pub use lease::{HolderKind, Lease, LeaseEnd, LeaseHolder, LeaseState};
pub use lease_pace::LeasePace;
pub use lease_pool::{
    ClaimAnswer, LeaseAnswer, LeaseClaim, LeaseOverage, LeasePool, LeasePoolRules, LeaseTakeOver,
    SeatTenure, SeatsExhausted,
};
pub use lease_token::{LEASE_TOKEN_MAX_BYTES, LEASE_TOKEN_TYP, LeaseBodyClaims, LeaseClaims};
pub use license_file::{LICENSE_FILE_TYP, LicenseFileClaims, SIGNING_KEY_TYP, SigningKeyClaims};
pub use license_key::{LicenseKey, LicenseKeyError};
pub use license_token::{
    LICENSE_TOKEN_ALG, LICENSE_TOKEN_ENV, LICENSE_TOKEN_HEADER, LICENSE_TOKEN_MAX_BYTES,
    LICENSE_TOKEN_TYP,
};
pub use pool::{PoolClaims, PoolKind};
pub use problem::{FieldError, Problem, ProblemCode};
pub use status_list::{
    EncodedStatusList, EntryBits, LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, STATUS_LIST_DRAFT,
    STATUS_LIST_MEDIA_TYPE, STATUS_LIST_TYP, StatusList, StatusListAggregation, StatusListClaims,
    StatusListError, TokenStatus,
};
pub use usage_report::{PoolUsage, UsageReport, UsageReportKind};
pub use validation::{ValidatedLicense, Validation, ValidationCode};
pub use version::{
    CONTRACT_VERSION, CONTRACTS_VERSION_HEADER, ContractVersion, UnsupportedContract,
};
pub use whoami::{
    WhoAmIGroup, WhoAmIMembershipV1, WhoAmIOrganizationV2, WhoAmIResponseV1, WhoAmIResponseV2,
    WhoAmIRoleV1, WhoAmIRoleV2, WhoAmIUserV1, WhoAmIUserV2, WhoAmIWorkspaceV2,
};
