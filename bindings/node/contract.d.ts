// The types of the contract. Generated from cp-contracts/schemas by bindings/contract/generate.py.

export type SemVer = string;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type CheckInCode = string;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type DeploymentType = string;
/**
 * The number of bits of an entry in a status list.
 */
export type EntryBits = 1 | 2 | 4 | 8;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type HolderKind = string;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type LeaseEnd = string;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type LeaseState = string;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type OnStale = string;
/**
 * One of the examples; readers must expect values they do not know.
 */
export type PoolKind = string;
/**
 * A machine-readable code; readers must expect codes they do not know.
 */
export type ProblemCode = string;
/**
 * The only value of `UsageReport::kind`: `usage_report`.
 */
export type UsageReportKind = "usage_report";
/**
 * One of the examples; readers must expect values they do not know.
 */
export type ValidationCode = string;

/**
 * The response to `POST /api/v1/deployments/{id}/check-in`. Since 2.10.0.
 */
export interface CheckIn {
  /**
   * The new token, if the server signed one.
   */
  bundle?: LicenseBundleResponse | null;
  /**
   * `valid`, or the first reason for which the license is not in force.
   */
  code: string;
  /**
   * The license; absent when the deployment has none.
   */
  license_id?: string | null;
  /**
   * The instant of the next check-in.
   */
  next_check_in_at: string;
  /**
   * Before this instant the server signs nothing.
   */
  not_before: string;
  /**
   * The server's clock.
   */
  server_time: string;
  [k: string]: unknown;
}
/**
 * The response to `POST /api/v1/licenses/{id}/bundles`: one signed token and its decoded claims.
 */
export interface LicenseBundleResponse {
  /**
   * The signature algorithm, `LICENSE_TOKEN_ALG`.
   */
  algorithm: string;
  /**
   * SHA-256 of the token's bytes, in lower-case hex: it identifies the token without revealing
   * it.
   */
  bundle_hash: string;
  /**
   * When the token expires; exclusive.
   */
  expires_at: string;
  /**
   * When the token was issued.
   */
  issued_at: string;
  /**
   * The bundle's id, which is the token's `jti`.
   */
  jti: string;
  /**
   * The `kid` of the key that signed the token.
   */
  key_id: string;
  /**
   * The license that the bundle belongs to.
   */
  license_id: string;
  payload: DeploymentLicenseClaims;
  /**
   * The license token: a compact JWS (RFC 7515 §7.1). It is a credential; no other response has
   * it.
   */
  token: string;
  [k: string]: unknown;
}
/**
 * The token's claims, decoded, for people and logs. A data plane reads them from the token.
 */
export interface DeploymentLicenseClaims {
  /**
   * The audience that the data plane is configured with: one string (RFC 7519 §4.1.3).
   */
  aud: string;
  /**
   * The version of the contract of these claims; absent in tokens before 2.5.
   */
  contract?: SemVer | null;
  /**
   * The control plane's base URL, for data planes that call it.
   */
  cp_base_url?: string | null;
  /**
   * The rules for a stale status and for the time after expiry.
   */
  enforcement?: Enforcement | null;
  /**
   * The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
   */
  exp: number;
  /**
   * When the token was issued, in seconds since 1970-01-01T00:00:00Z.
   */
  iat: number;
  /**
   * The issuer: the control plane's base URL (RFC 7519 §4.1.1).
   */
  iss: string;
  /**
   * The id of this bundle; no two tokens share one.
   */
  jti: string;
  license: LicenseBodyClaims;
  /**
   * The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
   */
  nbf: number;
  /**
   * The URL at which the data plane resolves an identity to a person (`whoami`).
   */
  rbac_endpoint?: string | null;
  /**
   * The location of the token's revocation status.
   */
  status?: StatusClaim | null;
  /**
   * The deployment's id; the same as `license.deployment.id`.
   */
  sub: string;
  [k: string]: unknown;
}
/**
 * The rules for a data plane without current information.
 */
export interface Enforcement {
  /**
   * The time after `exp` for which the license still works, in seconds.
   */
  grace_seconds: number;
  /**
   * The action when no status list is recent enough.
   */
  on_stale: string;
  /**
   * The maximum age of a status list, in seconds.
   */
  status_max_age: number;
  [k: string]: unknown;
}
/**
 * The license.
 */
export interface LicenseBodyClaims {
  deployment: DeploymentClaims;
  /**
   * The effective features: any JSON values, by name.
   */
  features: {
    [k: string]: unknown;
  };
  /**
   * The pools of seats, by name. Since 2.10.0.
   */
  leasing?: {
    [k: string]: PoolClaims;
  };
  /**
   * The license's id; the same for all its bundles.
   */
  license_id: string;
  /**
   * The plan's declared limits, by metric. `null` is unlimited. An absent metric is not
   * included.
   */
  limits?: {
    [k: string]: number | null;
  };
  organization: OrganizationClaims;
  plan: PlanClaims;
  /**
   * The maximum number of people who use the deployment; 0 or more.
   */
  seat_cap: number;
  subscription: SubscriptionClaims;
  /**
   * The metrics that are unlimited, by name. A language that reads an absent member and `null` alike
   * finds here what `limits` says with `null`. Since 2.7.0.
   */
  unlimited?: string[];
  [k: string]: unknown;
}
/**
 * The licensed data plane.
 */
export interface DeploymentClaims {
  /**
   * The base URL of its own API.
   */
  api_base_url?: string | null;
  /**
   * The deployment's id.
   */
  id: string;
  /**
   * Its name, unique in its organization.
   */
  name: string;
  /**
   * The region where it runs, as the vendor names it.
   */
  region?: string | null;
  /**
   * Its status when the token was issued, such as `active`.
   */
  status: string;
  /**
   * The kind of place where it runs.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * A pool of seats inside the claims of a license token. Since 2.10.0.
 */
export interface PoolClaims {
  /**
   * The number of seats; null is unlimited.
   */
  cap?: number | null;
  /**
   * The kind of the pool.
   */
  kind: string;
  [k: string]: unknown;
}
/**
 * The customer.
 */
export interface OrganizationClaims {
  /**
   * The vendor's own reference for it.
   */
  external_id?: string | null;
  /**
   * The organization's id.
   */
  id: string;
  /**
   * Its display name.
   */
  name: string;
  /**
   * Its name in URLs.
   */
  slug: string;
  /**
   * Its status when the token was issued, such as `active`.
   */
  status: string;
  [k: string]: unknown;
}
/**
 * The price tier.
 */
export interface PlanClaims {
  /**
   * The plan's code, such as `enterprise`.
   */
  code: string;
  /**
   * The plan's features, before the subscription and the license override them.
   */
  default_features: {
    [k: string]: unknown;
  };
  /**
   * A description in one sentence.
   */
  description?: string | null;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The subscription that the license belongs to.
 */
export interface SubscriptionClaims {
  /**
   * When it ends. A subscription without this member is open-ended.
   */
  ends_at?: string | null;
  /**
   * The billing system's reference for it.
   */
  external_id?: string | null;
  /**
   * The subscription's id.
   */
  id: string;
  /**
   * The number of seats that the customer pays for.
   */
  seat_cap: number;
  /**
   * When it began.
   */
  starts_at?: string | null;
  /**
   * Its status when the token was issued, such as `active` or `trialing`.
   */
  status: string;
  /**
   * When its trial ends.
   */
  trial_ends_at?: string | null;
  [k: string]: unknown;
}
/**
 * The location of the token's status (draft-ietf-oauth-status-list §6.1).
 */
export interface StatusClaim {
  status_list: StatusListRef;
  [k: string]: unknown;
}
/**
 * The entry in a status list.
 */
export interface StatusListRef {
  /**
   * The entry's position in the list, from 0.
   */
  idx: number;
  /**
   * The URL of the list, which is its `sub`.
   */
  uri: string;
  [k: string]: unknown;
}
/**
 * The data plane inside the claims.
 */
export interface DeploymentClaims1 {
  /**
   * The base URL of its own API.
   */
  api_base_url?: string | null;
  /**
   * The deployment's id.
   */
  id: string;
  /**
   * Its name, unique in its organization.
   */
  name: string;
  /**
   * The region where it runs, as the vendor names it.
   */
  region?: string | null;
  /**
   * Its status when the token was issued, such as `active`.
   */
  status: string;
  /**
   * The kind of place where it runs.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * The payload of a license token: the customer, the deployment, its entitlement and the term.
 *
 * The token is a JWT (RFC 7519) signed with `LICENSE_TOKEN_ALG`, whose
 * header has `typ` `LICENSE_TOKEN_TYP` and a `kid`. Parsing this type
 * checks nothing: only a verified token is a license.
 */
export interface DeploymentLicenseClaims1 {
  /**
   * The audience that the data plane is configured with: one string (RFC 7519 §4.1.3).
   */
  aud: string;
  /**
   * The version of the contract of these claims; absent in tokens before 2.5.
   */
  contract?: SemVer | null;
  /**
   * The control plane's base URL, for data planes that call it.
   */
  cp_base_url?: string | null;
  /**
   * The rules for a stale status and for the time after expiry.
   */
  enforcement?: Enforcement | null;
  /**
   * The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
   */
  exp: number;
  /**
   * When the token was issued, in seconds since 1970-01-01T00:00:00Z.
   */
  iat: number;
  /**
   * The issuer: the control plane's base URL (RFC 7519 §4.1.1).
   */
  iss: string;
  /**
   * The id of this bundle; no two tokens share one.
   */
  jti: string;
  license: LicenseBodyClaims;
  /**
   * The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
   */
  nbf: number;
  /**
   * The URL at which the data plane resolves an identity to a person (`whoami`).
   */
  rbac_endpoint?: string | null;
  /**
   * The location of the token's revocation status.
   */
  status?: StatusClaim | null;
  /**
   * The deployment's id; the same as `license.deployment.id`.
   */
  sub: string;
  [k: string]: unknown;
}
/**
 * The compressed statuses of many tokens (§4.2). `StatusList` encodes and decodes them.
 */
export interface EncodedStatusList {
  /**
   * The number of bits of an entry.
   */
  bits: 1 | 2 | 4 | 8;
  /**
   * The entries: base64url without padding, of ZLIB (RFC 1950), of the packed bytes.
   */
  lst: string;
  [k: string]: unknown;
}
/**
 * An event: one audit event with its place in the log. Since 2.11.0.
 *
 * An event names what changed, without values. A receiver that needs more reads the API with its own
 * permissions, and gets the current state.
 */
export interface Event {
  actor: EventActor;
  /**
   * The state after the change, with masked secrets; only for webhooks that include it.
   */
  after?: {
    [k: string]: unknown;
  };
  /**
   * When the server recorded the event.
   */
  at: string;
  /**
   * The names of the members that differ before and after; empty when a state is not known, as for
   * a new object.
   */
  changed: string[];
  /**
   * Whether the content of the event was erased.
   */
  erased?: boolean;
  /**
   * The event's id, which is that of the audit event. It is the same in every delivery.
   */
  id: string;
  /**
   * The organization; absent for events of the platform.
   */
  organization_id?: string | null;
  /**
   * The reason, in the words of the caller.
   */
  reason?: string | null;
  /**
   * The position in the log, counted from 0.
   */
  seq: number;
  target: EventTarget;
  /**
   * Whether `after` is left out because the event would be too large.
   */
  truncated?: boolean;
  /**
   * The type, such as `licenses.revoke`. Later versions of the server add types.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * The caller that acted.
 */
export interface EventActor {
  /**
   * The id of the user or service token.
   */
  id: string;
  /**
   * The kind of the caller, such as `person` or `service_token`.
   */
  kind: string;
  /**
   * The display name at the time of the event.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The object that changed.
 */
export interface EventTarget {
  /**
   * The object's id; absent when the event names none.
   */
  id?: string | null;
  /**
   * The kind of the object, such as `license`.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * The caller that acted. Since 2.11.0.
 */
export interface EventActor1 {
  /**
   * The id of the user or service token.
   */
  id: string;
  /**
   * The kind of the caller, such as `person` or `service_token`.
   */
  kind: string;
  /**
   * The display name at the time of the event.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The object that changed. Since 2.11.0.
 */
export interface EventTarget1 {
  /**
   * The object's id; absent when the event names none.
   */
  id?: string | null;
  /**
   * The kind of the object, such as `license`.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * The refusal of one field of a request. Since 2.8.0.
 */
export interface FieldError {
  /**
   * The explanation, and what to do about it.
   */
  detail: string;
  /**
   * The path of the field, such as `filter.key_id`.
   */
  field: string;
  [k: string]: unknown;
}
/**
 * One RSA public key (RFC 7518 §6.3.1).
 *
 * This type has no `extra`, so that a private member such as `d` can never be published with it.
 */
export interface Jwk {
  /**
   * The only algorithm of the key: `RS256`.
   */
  alg: string;
  /**
   * The public exponent: big-endian, minimal, base64url without padding; `AQAB` is 65537.
   */
  e: string;
  /**
   * The key ID: the RFC 7638 SHA-256 thumbprint.
   */
  kid: string;
  /**
   * The key type: `RSA`.
   */
  kty: string;
  /**
   * The modulus: big-endian, minimal, base64url without padding.
   */
  n: string;
  /**
   * The use of the key: `sig`.
   */
  use: string;
  [k: string]: unknown;
}
/**
 * The body of `/.well-known/jwks.json` (RFC 7517 §5), as an issuer writes it.
 *
 * Data planes do not parse key sets with this type. They pass the bytes to `dp-verifier`, which
 * also validates the keys.
 */
export interface JwkSet {
  /**
   * The keys, each with its own `kid`.
   */
  keys: Jwk[];
  [k: string]: unknown;
}
/**
 * A lease: one tenure of one holder on one seat of a pool. Since 2.10.0.
 *
 * An ended lease stays ended; the next tenure of the same holder has another ID.
 */
export interface Lease {
  /**
   * The start of the tenure.
   */
  acquired_at: string;
  /**
   * The end of the borrowing; null when the lease is not borrowed.
   */
  borrowed_until?: string | null;
  /**
   * The license's deployment.
   */
  deployment_id: string;
  /**
   * The reason for the end; null while the lease is live.
   */
  end?: LeaseEnd | null;
  /**
   * The instant at which the lease ended; null while it is live.
   */
  ended_at?: string | null;
  /**
   * The end without another heartbeat; null for a lease that lasts until its release.
   */
  expires_at?: string | null;
  /**
   * The last claim or heartbeat.
   */
  heartbeat_at: string;
  holder: LeaseHolder;
  /**
   * The lease's id.
   */
  id: string;
  /**
   * The kind of the pool.
   */
  kind: string;
  /**
   * The caller's own description of the holder.
   */
  label?: string | null;
  /**
   * The license whose seat it is.
   */
  license_id: string;
  /**
   * The caller's own values.
   */
  meta: {
    [k: string]: string;
  };
  /**
   * The instant of the next heartbeat.
   */
  next_at: string;
  /**
   * Before this instant a heartbeat changes nothing.
   */
  not_before: string;
  /**
   * Whether the seat is beyond the pool's cap.
   */
  overage: boolean;
  /**
   * The pool, such as `seats`.
   */
  pool: string;
  /**
   * The number of the seat, from 1.
   */
  seat: number;
  /**
   * Whether the holder has the seat.
   */
  state: string;
  /**
   * The lease token, in the answers to requests with `token: true`. It is a credential.
   */
  token?: string | null;
  [k: string]: unknown;
}
/**
 * The holder.
 */
export interface LeaseHolder {
  /**
   * The hash of the holder: base64url of the first 16 bytes of SHA-256 over
   * `<license_id>:<kind>:<text>`. It reveals neither a name nor a fingerprint.
   */
  hash: string;
  /**
   * The kind of the holder.
   */
  kind: string;
  /**
   * The person, when the holder is a known one.
   */
  user_id?: string | null;
  [k: string]: unknown;
}
/**
 * The lease inside the claims. Since 2.10.0.
 */
export interface LeaseBodyClaims {
  /**
   * Whether the lease is borrowed: no heartbeat is needed before its end.
   */
  borrowed: boolean;
  /**
   * The hashes of the machine's components, in the order of their names.
   */
  components?: string[];
  /**
   * The hash of the holder, as in `LeaseHolder::hash`.
   */
  holder: string;
  /**
   * The kind of the pool.
   */
  kind: string;
  /**
   * The license whose seat it is.
   */
  license_id: string;
  /**
   * The number of components that must match; absent when the fingerprint must.
   */
  match?: string | null;
  /**
   * Whether the seat is beyond the pool's cap.
   */
  overage: boolean;
  /**
   * The pool.
   */
  pool: string;
  [k: string]: unknown;
}
/**
 * The payload of a lease token. Since 2.10.0.
 *
 * The token is a JWT (RFC 7519), signed like a license token with
 * `LICENSE_TOKEN_ALG`. It counts only beside a valid license token of
 * the same issuer, deployment and license.
 */
export interface LeaseClaims {
  /**
   * The audience, as in the license token (RFC 7519 §4.1.3).
   */
  aud: string;
  /**
   * The version of the contract of these claims.
   */
  contract?: SemVer | null;
  /**
   * The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
   */
  exp: number;
  /**
   * Before this instant a heartbeat changes nothing, in seconds since 1970-01-01T00:00:00Z.
   */
  hbnbf: number;
  /**
   * When the token was issued, in seconds since 1970-01-01T00:00:00Z.
   */
  iat: number;
  /**
   * The issuer: the control plane's base URL (RFC 7519 §4.1.1).
   */
  iss: string;
  /**
   * The lease's id.
   */
  jti: string;
  lease: LeaseBodyClaims1;
  /**
   * The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
   */
  nbf: number;
  /**
   * The location of the token's revocation status; only borrowed leases have one.
   */
  status?: StatusClaim | null;
  /**
   * The deployment's id.
   */
  sub: string;
  [k: string]: unknown;
}
/**
 * The lease.
 */
export interface LeaseBodyClaims1 {
  /**
   * Whether the lease is borrowed: no heartbeat is needed before its end.
   */
  borrowed: boolean;
  /**
   * The hashes of the machine's components, in the order of their names.
   */
  components?: string[];
  /**
   * The hash of the holder, as in `LeaseHolder::hash`.
   */
  holder: string;
  /**
   * The kind of the pool.
   */
  kind: string;
  /**
   * The license whose seat it is.
   */
  license_id: string;
  /**
   * The number of components that must match; absent when the fingerprint must.
   */
  match?: string | null;
  /**
   * Whether the seat is beyond the pool's cap.
   */
  overage: boolean;
  /**
   * The pool.
   */
  pool: string;
  [k: string]: unknown;
}
/**
 * The holder of a lease. Since 2.10.0.
 */
export interface LeaseHolder1 {
  /**
   * The hash of the holder: base64url of the first 16 bytes of SHA-256 over
   * `<license_id>:<kind>:<text>`. It reveals neither a name nor a fingerprint.
   */
  hash: string;
  /**
   * The kind of the holder.
   */
  kind: string;
  /**
   * The person, when the holder is a known one.
   */
  user_id?: string | null;
  [k: string]: unknown;
}
/**
 * The license inside the claims.
 */
export interface LicenseBodyClaims1 {
  deployment: DeploymentClaims;
  /**
   * The effective features: any JSON values, by name.
   */
  features: {
    [k: string]: unknown;
  };
  /**
   * The pools of seats, by name. Since 2.10.0.
   */
  leasing?: {
    [k: string]: PoolClaims;
  };
  /**
   * The license's id; the same for all its bundles.
   */
  license_id: string;
  /**
   * The plan's declared limits, by metric. `null` is unlimited. An absent metric is not
   * included.
   */
  limits?: {
    [k: string]: number | null;
  };
  organization: OrganizationClaims;
  plan: PlanClaims;
  /**
   * The maximum number of people who use the deployment; 0 or more.
   */
  seat_cap: number;
  subscription: SubscriptionClaims;
  /**
   * The metrics that are unlimited, by name. A language that reads an absent member and `null` alike
   * finds here what `limits` says with `null`. Since 2.7.0.
   */
  unlimited?: string[];
  [k: string]: unknown;
}
/**
 * The payload of a license file: everything that a data plane without a network needs.
 *
 * The content of the file is one compact JWS (RFC 7515 §7.1), signed like a license token, with a
 * header of `alg`, `typ` `LICENSE_FILE_TYP` and `kid`. A file with a token is a bundle file. A
 * file without a token is a refresh file.
 */
export interface LicenseFileClaims {
  /**
   * The log's checkpoint when the file was created: an opaque text.
   */
  checkpoint?: string | null;
  /**
   * The proof that the log of `checkpoint` extends the log of the deployment's last usage
   * report: `old`, a space and the size of the reported log, then one base64 hash per line (RFC
   * 6962 §2.1.2), in the form of C2SP tlog-witness.
   */
  consistency?: string | null;
  /**
   * The version of the contract of these claims.
   */
  contract: string;
  /**
   * When the file was created, in seconds since 1970-01-01T00:00:00Z.
   */
  iat: number;
  /**
   * The issuer of the file: the control plane's base URL, as in license tokens.
   */
  iss: string;
  jwks: JwkSet1;
  /**
   * Endorsements of keys, each a compact JWS of `SigningKeyClaims`, oldest first. They lead
   * from a key that the data plane trusts to the key that signed this file.
   */
  key_chain?: string[];
  /**
   * The license.
   */
  license_id: string;
  /**
   * The proof that the token is in the log: an opaque text.
   */
  proof?: string | null;
  /**
   * The number of the file within its license: the second since 1970-01-01T00:00:00Z in which it
   * was created, or one more than the last number. Issuers of earlier versions counted from 1. A
   * data plane refuses a file whose number is not above those of all files that it imported.
   *
   * The number is at most 86,400 above the greater of two values: the number of the previous
   * file, and `iat`. Without the bound, one file could lock out all later ones.
   */
  seq: number;
  /**
   * The status list token that the license's `status` refers to.
   */
  status_list?: string | null;
  /**
   * The deployment's id, as in license tokens.
   */
  sub: string;
  /**
   * The license token; absent in a refresh file.
   */
  token?: string | null;
  [k: string]: unknown;
}
/**
 * The issuer's public keys.
 */
export interface JwkSet1 {
  /**
   * The keys, each with its own `kid`.
   */
  keys: Jwk[];
  [k: string]: unknown;
}
/**
 * The customer inside the claims.
 */
export interface OrganizationClaims1 {
  /**
   * The vendor's own reference for it.
   */
  external_id?: string | null;
  /**
   * The organization's id.
   */
  id: string;
  /**
   * Its display name.
   */
  name: string;
  /**
   * Its name in URLs.
   */
  slug: string;
  /**
   * Its status when the token was issued, such as `active`.
   */
  status: string;
  [k: string]: unknown;
}
/**
 * The price tier inside the claims.
 */
export interface PlanClaims1 {
  /**
   * The plan's code, such as `enterprise`.
   */
  code: string;
  /**
   * The plan's features, before the subscription and the license override them.
   */
  default_features: {
    [k: string]: unknown;
  };
  /**
   * A description in one sentence.
   */
  description?: string | null;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The use of one pool of seats in the time of a `UsageReport`. Since 2.10.0.
 *
 * Parsing refuses negative numbers.
 */
export interface PoolUsage {
  /**
   * The greatest number of seats that were held at the same time.
   */
  peak: number;
  /**
   * The number of holders that were refused a seat.
   */
  refused: number;
  [k: string]: unknown;
}
/**
 * The body of every error response of the control plane: `application/problem+json` (RFC 9457).
 */
export interface Problem {
  /**
   * The machine-readable code. Match on this member, never on the texts.
   */
  code: string;
  /**
   * The explanation of this occurrence, and what to do about it.
   */
  detail: string;
  /**
   * The refused fields, when a request has several. The first one is also in `field` and `detail`.
   * Since 2.8.0.
   */
  errors?: FieldError[];
  /**
   * The refused field of the request, such as `seat_cap`.
   */
  field?: string | null;
  /**
   * The request's id, as in the `X-Request-Id` header and the server's log.
   */
  request_id?: string | null;
  /**
   * The HTTP status, 400 to 599.
   */
  status: number;
  /**
   * A short description of the kind of problem, fixed for each code.
   */
  title: string;
  /**
   * A URI reference that names the kind of problem: `/problems/<code>` below the server's base URL. It
   * leads to a page about the code.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * The payload of a key endorsement: one signing key of an issuer vouches for another.
 *
 * It is a compact JWS, signed like a license token by the key that was active when the endorsed
 * key was created. Its header has `typ` `SIGNING_KEY_TYP` and the `kid` of the signer. A data
 * plane that trusts the signer may trust `jwk`, so an issuer can rotate keys while
 * the data plane is offline.
 */
export interface SigningKeyClaims {
  /**
   * When the endorsement was created, in seconds since 1970-01-01T00:00:00Z.
   */
  iat: number;
  /**
   * The issuer of both keys: the control plane's base URL.
   */
  iss: string;
  jwk: Jwk1;
  [k: string]: unknown;
}
/**
 * One RSA public key (RFC 7518 §6.3.1).
 *
 * This type has no `extra`, so that a private member such as `d` can never be published with it.
 */
export interface Jwk1 {
  /**
   * The only algorithm of the key: `RS256`.
   */
  alg: string;
  /**
   * The public exponent: big-endian, minimal, base64url without padding; `AQAB` is 65537.
   */
  e: string;
  /**
   * The key ID: the RFC 7638 SHA-256 thumbprint.
   */
  kid: string;
  /**
   * The key type: `RSA`.
   */
  kty: string;
  /**
   * The modulus: big-endian, minimal, base64url without padding.
   */
  n: string;
  /**
   * The use of the key: `sig`.
   */
  use: string;
  [k: string]: unknown;
}
/**
 * The response to `GET /api/v1/status-lists`: the URLs of all lists (§9.3).
 */
export interface StatusListAggregation {
  /**
   * The URL of each list.
   */
  status_lists: string[];
  [k: string]: unknown;
}
/**
 * The payload of a status list token: a JWT (RFC 7519), signed like a license token, with the
 * `typ` `STATUS_LIST_TYP` (§5.1).
 */
export interface StatusListClaims {
  /**
   * When the list expires, in seconds since 1970-01-01T00:00:00Z.
   */
  exp: number;
  /**
   * When the list was issued, in seconds since 1970-01-01T00:00:00Z.
   */
  iat: number;
  status_list: EncodedStatusList1;
  /**
   * The URL of the list, which is the `uri` in its tokens.
   */
  sub: string;
  /**
   * The time for which a copy is fresh, in seconds; more than 0.
   */
  ttl: number;
  [k: string]: unknown;
}
/**
 * The statuses.
 */
export interface EncodedStatusList1 {
  /**
   * The number of bits of an entry.
   */
  bits: 1 | 2 | 4 | 8;
  /**
   * The entries: base64url without padding, of ZLIB (RFC 1950), of the packed bytes.
   */
  lst: string;
  [k: string]: unknown;
}
/**
 * One entry of one status list.
 */
export interface StatusListRef1 {
  /**
   * The entry's position in the list, from 0.
   */
  idx: number;
  /**
   * The URL of the list, which is its `sub`.
   */
  uri: string;
  [k: string]: unknown;
}
/**
 * The contract between vendor and customer inside the claims.
 */
export interface SubscriptionClaims1 {
  /**
   * When it ends. A subscription without this member is open-ended.
   */
  ends_at?: string | null;
  /**
   * The billing system's reference for it.
   */
  external_id?: string | null;
  /**
   * The subscription's id.
   */
  id: string;
  /**
   * The number of seats that the customer pays for.
   */
  seat_cap: number;
  /**
   * When it began.
   */
  starts_at?: string | null;
  /**
   * Its status when the token was issued, such as `active` or `trialing`.
   */
  status: string;
  /**
   * When its trial ends.
   */
  trial_ends_at?: string | null;
  [k: string]: unknown;
}
/**
 * A usage report: a JSON file that an operator carries from a data plane to the control plane.
 *
 * A data plane has no key, so the file is not signed. `sequence` and
 * `previous` reveal missing, repeated and exchanged reports. Parsing refuses
 * negative counters and a sequence below 1.
 */
export interface UsageReport {
  /**
   * The last checkpoint of the log that the data plane has seen: an opaque text.
   */
  checkpoint?: string | null;
  /**
   * The version of the contract of this report.
   */
  contract: string;
  /**
   * The usage in that time, by metric, in the metric's unit; 0 or more.
   */
  counters: {
    [k: string]: number;
  };
  /**
   * The reporting deployment.
   */
  deployment_id: string;
  /**
   * The `seq` of the last license file that the data plane imported.
   */
  file_seq?: number | null;
  /**
   * The kind of document.
   */
  kind: "usage_report";
  /**
   * The use of seats in that time, by pool. Since 2.10.0.
   */
  leases?: {
    [k: string]: PoolUsage;
  };
  /**
   * The deployment's license.
   */
  license_id: string;
  /**
   * SHA-256 of the bytes of the previous report, in lower-case hex; absent in the first.
   */
  previous?: string | null;
  /**
   * The number of the report within its deployment: 1 for the first, then one more each time.
   */
  sequence: number;
  /**
   * The start of the reported time; inclusive.
   */
  since: string;
  /**
   * The `iat` of the data plane's status list, in seconds since 1970-01-01T00:00:00Z.
   */
  status_list_iat?: number | null;
  /**
   * The end of the reported time; exclusive.
   */
  until: string;
  [k: string]: unknown;
}
/**
 * The license of a validated key. Since 2.10.0.
 */
export interface ValidatedLicense {
  /**
   * The effective values with their sources, as in the license.
   */
  effective: {
    [k: string]: unknown;
  };
  /**
   * The end with the days of grace, while the license is in them.
   */
  grace_until?: string | null;
  /**
   * The license's id.
   */
  id: string;
  /**
   * Its status, such as `active`.
   */
  status: string;
  /**
   * Its end; null without one.
   */
  valid_until?: string | null;
  [k: string]: unknown;
}
/**
 * The response to `POST /api/v1/licenses/validate`. Since 2.10.0.
 */
export interface Validation {
  /**
   * The first reason that holds. Match on this member, never on the text.
   */
  code: string;
  /**
   * The explanation, and what to do about it.
   */
  detail: string;
  /**
   * The holder's lease, if the request names a holder that has one.
   */
  lease?: Lease | null;
  /**
   * The lease token, if the request asks for it. It is a credential.
   */
  lease_token?: string | null;
  /**
   * The license; absent when the key is unknown, revoked or expired.
   */
  license?: ValidatedLicense | null;
  /**
   * The seconds after which another attempt may succeed.
   */
  retry_after?: number | null;
  /**
   * The license token, if the request asks for it. It is a credential.
   */
  token?: string | null;
  /**
   * Whether the key may be used: the code is `valid` or `valid_in_grace`.
   */
  valid: boolean;
  [k: string]: unknown;
}
/**
 * The body of a webhook, in the form of the Standard Webhooks specification. Since 2.11.0.
 */
export interface WebhookPayload {
  data: Event1;
  /**
   * When the event happened.
   */
  timestamp: string;
  /**
   * The type of the event.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * The event.
 */
export interface Event1 {
  actor: EventActor;
  /**
   * The state after the change, with masked secrets; only for webhooks that include it.
   */
  after?: {
    [k: string]: unknown;
  };
  /**
   * When the server recorded the event.
   */
  at: string;
  /**
   * The names of the members that differ before and after; empty when a state is not known, as for
   * a new object.
   */
  changed: string[];
  /**
   * Whether the content of the event was erased.
   */
  erased?: boolean;
  /**
   * The event's id, which is that of the audit event. It is the same in every delivery.
   */
  id: string;
  /**
   * The organization; absent for events of the platform.
   */
  organization_id?: string | null;
  /**
   * The reason, in the words of the caller.
   */
  reason?: string | null;
  /**
   * The position in the log, counted from 0.
   */
  seq: number;
  target: EventTarget;
  /**
   * Whether `after` is left out because the event would be too large.
   */
  truncated?: boolean;
  /**
   * The type, such as `licenses.revoke`. Later versions of the server add types.
   */
  type: string;
  [k: string]: unknown;
}
/**
 * A group that the person belongs to.
 */
export interface WhoAmIGroup {
  /**
   * The group's id.
   */
  id: string;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The person's membership in one workspace, in contract 1.x.
 */
export interface WhoAmIMembershipV1 {
  /**
   * The organization that owns the workspace.
   */
  organization_id: string;
  role: WhoAmIRoleV1;
  /**
   * `ACTIVE`, `INVITED` or `SUSPENDED`. Only this response uses upper case, as published.
   */
  status: string;
  /**
   * The workspace's id.
   */
  workspace_id: string;
  /**
   * The workspace's display name.
   */
  workspace_name: string;
  /**
   * The workspace's name in URLs.
   */
  workspace_slug: string;
  [k: string]: unknown;
}
/**
 * The role held there.
 */
export interface WhoAmIRoleV1 {
  /**
   * The role's code, such as `WORKSPACE_OWNER`.
   */
  code: string;
  /**
   * A description in one sentence.
   */
  description?: string | null;
  /**
   * The role's id.
   */
  id: string;
  /**
   * Whether the system defines the role.
   */
  is_system: boolean;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The person's role in the administration of one organization, in contract 2.x (since 2.4).
 */
export interface WhoAmIOrganizationV2 {
  /**
   * The organization's id.
   */
  organization_id: string;
  /**
   * The organization's display name.
   */
  organization_name: string;
  /**
   * The organization's name in URLs.
   */
  organization_slug: string;
  /**
   * The permissions there.
   */
  permissions?: string[];
  role: WhoAmIRoleV2;
  /**
   * The membership's status, such as `active`.
   */
  status: string;
  [k: string]: unknown;
}
/**
 * The role held there.
 */
export interface WhoAmIRoleV2 {
  /**
   * The role's code, such as `WORKSPACE_OWNER`.
   */
  code: string;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The response of contract 1.x.
 */
export interface WhoAmIResponseV1 {
  /**
   * The workspaces that the person belongs to.
   */
  memberships: WhoAmIMembershipV1[];
  user: WhoAmIUserV1;
  [k: string]: unknown;
}
/**
 * The person.
 */
export interface WhoAmIUserV1 {
  /**
   * The user's name.
   */
  display_name?: string | null;
  /**
   * The user's e-mail address.
   */
  email: string;
  /**
   * The user's id.
   */
  id: string;
  /**
   * Whether the user may log in. A user who may not has no memberships here.
   */
  is_active: boolean;
  [k: string]: unknown;
}
/**
 * The response of contract 2.x.
 */
export interface WhoAmIResponseV2 {
  /**
   * The organizations that the person administers. This grants nothing inside their workspaces.
   */
  organizations?: WhoAmIOrganizationV2[];
  /**
   * By workspace id, a number that grows whenever the response for that workspace may change.
   */
  rbac_revision?: {
    [k: string]: number;
  };
  /**
   * Whether the person has all permissions on the platform.
   */
  superadmin?: boolean;
  user: WhoAmIUserV2;
  /**
   * The workspaces that the person belongs to, with the permissions in each.
   */
  workspaces?: WhoAmIWorkspaceV2[];
  [k: string]: unknown;
}
/**
 * The person.
 */
export interface WhoAmIUserV2 {
  /**
   * The user's name.
   */
  display_name?: string | null;
  /**
   * The user's e-mail address.
   */
  email: string;
  /**
   * The user's id.
   */
  id: string;
  /**
   * Whether the user may log in. A user who may not has no permissions here.
   */
  is_active: boolean;
  /**
   * Whether the user has all permissions on the platform.
   */
  is_superadmin?: boolean;
  [k: string]: unknown;
}
/**
 * The person's membership in one workspace, in contract 2.x.
 */
export interface WhoAmIWorkspaceV2 {
  /**
   * The groups that the person belongs to there.
   */
  groups?: WhoAmIGroup[];
  /**
   * The organization that owns the workspace.
   */
  organization_id: string;
  /**
   * That organization's name in URLs.
   */
  organization_slug: string;
  /**
   * The permissions there.
   */
  permissions?: string[];
  /**
   * A number that grows whenever the response for this workspace may change.
   */
  rbac_revision?: number;
  role: WhoAmIRoleV21;
  /**
   * The membership's status, such as `active`.
   */
  status: string;
  /**
   * The workspace's id.
   */
  workspace_id: string;
  /**
   * The workspace's display name.
   */
  workspace_name: string;
  /**
   * The workspace's name in URLs.
   */
  workspace_slug: string;
  [k: string]: unknown;
}
/**
 * The role held there.
 */
export interface WhoAmIRoleV21 {
  /**
   * The role's code, such as `WORKSPACE_OWNER`.
   */
  code: string;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * A role, in contract 1.x.
 */
export interface WhoAmIRoleV11 {
  /**
   * The role's code, such as `WORKSPACE_OWNER`.
   */
  code: string;
  /**
   * A description in one sentence.
   */
  description?: string | null;
  /**
   * The role's id.
   */
  id: string;
  /**
   * Whether the system defines the role.
   */
  is_system: boolean;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * A role, in contract 2.x.
 */
export interface WhoAmIRoleV22 {
  /**
   * The role's code, such as `WORKSPACE_OWNER`.
   */
  code: string;
  /**
   * Its display name.
   */
  name: string;
  [k: string]: unknown;
}
/**
 * The person, in contract 1.x.
 */
export interface WhoAmIUserV11 {
  /**
   * The user's name.
   */
  display_name?: string | null;
  /**
   * The user's e-mail address.
   */
  email: string;
  /**
   * The user's id.
   */
  id: string;
  /**
   * Whether the user may log in. A user who may not has no memberships here.
   */
  is_active: boolean;
  [k: string]: unknown;
}
/**
 * The person, in contract 2.x.
 */
export interface WhoAmIUserV21 {
  /**
   * The user's name.
   */
  display_name?: string | null;
  /**
   * The user's e-mail address.
   */
  email: string;
  /**
   * The user's id.
   */
  id: string;
  /**
   * Whether the user may log in. A user who may not has no permissions here.
   */
  is_active: boolean;
  /**
   * Whether the user has all permissions on the platform.
   */
  is_superadmin?: boolean;
  [k: string]: unknown;
}
