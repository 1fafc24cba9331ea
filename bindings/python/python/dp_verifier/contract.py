"""Pydantic models of the contract. Generated from cp-contracts/schemas by bindings/contract/generate.py."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class EntryBits(IntEnum):
    """
    The number of bits of an entry in a status list.
    """

    integer_1 = 1
    integer_2 = 2
    integer_4 = 4
    integer_8 = 8


class EventActor(BaseModel):
    """
    The caller that acted. Since 2.11.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    id: UUID
    """
    The id of the user or service token.
    """
    kind: str
    """
    The kind of the caller, such as `person` or `service_token`.
    """
    name: str
    """
    The display name at the time of the event.
    """


class EventTarget(BaseModel):
    """
    The object that changed. Since 2.11.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    id: str | None = None
    """
    The object's id; absent when the event names none.
    """
    type: str
    """
    The kind of the object, such as `license`.
    """


class FieldError(BaseModel):
    """
    The refusal of one field of a request. Since 2.8.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    detail: str
    """
    The explanation, and what to do about it.
    """
    field: str
    """
    The path of the field, such as `filter.key_id`.
    """


class Jwk(BaseModel):
    """
    One RSA public key (RFC 7518 §6.3.1).

    This type has no `extra`, so that a private member such as `d` can never be published with it.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    alg: str
    """
    The only algorithm of the key: `RS256`.
    """
    e: str
    """
    The public exponent: big-endian, minimal, base64url without padding; `AQAB` is 65537.
    """
    kid: str
    """
    The key ID: the RFC 7638 SHA-256 thumbprint.
    """
    kty: str
    """
    The key type: `RSA`.
    """
    n: str
    """
    The modulus: big-endian, minimal, base64url without padding.
    """
    use: str
    """
    The use of the key: `sig`.
    """


class JwkSet(BaseModel):
    """
    The body of `/.well-known/jwks.json` (RFC 7517 §5), as an issuer writes it.

    Data planes do not parse key sets with this type. They pass the bytes to `dp-verifier`, which
    also validates the keys.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    keys: list[Jwk]
    """
    The keys, each with its own `kid`.
    """


class LeaseHolder(BaseModel):
    """
    The holder of a lease. Since 2.10.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    hash: str
    """
    The hash of the holder: base64url of the first 16 bytes of SHA-256 over
    `<license_id>:<kind>:<text>`. It reveals neither a name nor a fingerprint.
    """
    kind: Annotated[
        str, Field(examples=['user', 'email', 'subject', 'fingerprint', 'id'])
    ]
    """
    The kind of the holder.
    """
    user_id: UUID | None = None
    """
    The person, when the holder is a known one.
    """


class OrganizationClaims(BaseModel):
    """
    The customer inside the claims.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    external_id: str | None = None
    """
    The vendor's own reference for it.
    """
    id: UUID
    """
    The organization's id.
    """
    name: str
    """
    Its display name.
    """
    slug: str
    """
    Its name in URLs.
    """
    status: str
    """
    Its status when the token was issued, such as `active`.
    """


class PlanClaims(BaseModel):
    """
    The price tier inside the claims.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    code: str
    """
    The plan's code, such as `enterprise`.
    """
    default_features: dict[str, Any]
    """
    The plan's features, before the subscription and the license override them.
    """
    description: str | None = None
    """
    A description in one sentence.
    """
    name: str
    """
    Its display name.
    """


class PoolUsage(BaseModel):
    """
    The use of one pool of seats in the time of a `UsageReport`. Since 2.10.0.

    Parsing refuses negative numbers.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    peak: Annotated[int, Field(ge=0)]
    """
    The greatest number of seats that were held at the same time.
    """
    refused: Annotated[int, Field(ge=0)]
    """
    The number of holders that were refused a seat.
    """


class SemVer(RootModel[str]):
    root: Annotated[
        str,
        Field(
            pattern='^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)(?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$'
        ),
    ]


class SigningKeyClaims(BaseModel):
    """
    The payload of a key endorsement: one signing key of an issuer vouches for another.

    It is a compact JWS, signed like a license token by the key that was active when the endorsed
    key was created. Its header has `typ` `SIGNING_KEY_TYP` and the `kid` of the signer. A data
    plane that trusts the signer may trust `jwk`, so an issuer can rotate keys while
    the data plane is offline.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    iat: int
    """
    When the endorsement was created, in seconds since 1970-01-01T00:00:00Z.
    """
    iss: str
    """
    The issuer of both keys: the control plane's base URL.
    """
    jwk: Jwk
    """
    The endorsed key.
    """


class StatusListAggregation(BaseModel):
    """
    The response to `GET /api/v1/status-lists`: the URLs of all lists (§9.3).
    """

    model_config = ConfigDict(
        extra='allow',
    )
    status_lists: list[str]
    """
    The URL of each list.
    """


class StatusListRef(BaseModel):
    """
    One entry of one status list.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    idx: Annotated[int, Field(ge=0)]
    """
    The entry's position in the list, from 0.
    """
    uri: str
    """
    The URL of the list, which is its `sub`.
    """


class SubscriptionClaims(BaseModel):
    """
    The contract between vendor and customer inside the claims.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    ends_at: AwareDatetime | None = None
    """
    When it ends. A subscription without this member is open-ended.
    """
    external_id: str | None = None
    """
    The billing system's reference for it.
    """
    id: UUID
    """
    The subscription's id.
    """
    seat_cap: int
    """
    The number of seats that the customer pays for.
    """
    starts_at: AwareDatetime | None = None
    """
    When it began.
    """
    status: str
    """
    Its status when the token was issued, such as `active` or `trialing`.
    """
    trial_ends_at: AwareDatetime | None = None
    """
    When its trial ends.
    """


class UsageReportKind(Enum):
    """
    The only value of `UsageReport::kind`: `usage_report`.
    """

    usage_report = 'usage_report'
    """
    `usage_report`.
    """


class ValidatedLicense(BaseModel):
    """
    The license of a validated key. Since 2.10.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    effective: dict[str, Any]
    """
    The effective values with their sources, as in the license.
    """
    grace_until: AwareDatetime | None = None
    """
    The end with the days of grace, while the license is in them.
    """
    id: UUID
    """
    The license's id.
    """
    status: str
    """
    Its status, such as `active`.
    """
    valid_until: AwareDatetime | None = None
    """
    Its end; null without one.
    """


class WhoAmIGroup(BaseModel):
    """
    A group that the person belongs to.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    id: UUID
    """
    The group's id.
    """
    name: str
    """
    Its display name.
    """


class WhoAmIRoleV1(BaseModel):
    """
    A role, in contract 1.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    code: str
    """
    The role's code, such as `WORKSPACE_OWNER`.
    """
    description: str | None = None
    """
    A description in one sentence.
    """
    id: UUID
    """
    The role's id.
    """
    is_system: bool
    """
    Whether the system defines the role.
    """
    name: str
    """
    Its display name.
    """


class WhoAmIRoleV2(BaseModel):
    """
    A role, in contract 2.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    code: str
    """
    The role's code, such as `WORKSPACE_OWNER`.
    """
    name: str
    """
    Its display name.
    """


class WhoAmIUserV1(BaseModel):
    """
    The person, in contract 1.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    display_name: str | None = None
    """
    The user's name.
    """
    email: str
    """
    The user's e-mail address.
    """
    id: UUID
    """
    The user's id.
    """
    is_active: bool
    """
    Whether the user may log in. A user who may not has no memberships here.
    """


class WhoAmIUserV2(BaseModel):
    """
    The person, in contract 2.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    display_name: str | None = None
    """
    The user's name.
    """
    email: str
    """
    The user's e-mail address.
    """
    id: UUID
    """
    The user's id.
    """
    is_active: bool
    """
    Whether the user may log in. A user who may not has no permissions here.
    """
    is_superadmin: bool | None = False
    """
    Whether the user has all permissions on the platform.
    """


class WhoAmIWorkspaceV2(BaseModel):
    """
    The person's membership in one workspace, in contract 2.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    groups: Annotated[list[WhoAmIGroup] | None, Field(validate_default=True)] = []
    """
    The groups that the person belongs to there.
    """
    organization_id: UUID
    """
    The organization that owns the workspace.
    """
    organization_slug: str
    """
    That organization's name in URLs.
    """
    permissions: list[str] | None = []
    """
    The permissions there.
    """
    rbac_revision: int | None = 1
    """
    A number that grows whenever the response for this workspace may change.
    """
    role: WhoAmIRoleV2
    """
    The role held there.
    """
    status: str
    """
    The membership's status, such as `active`.
    """
    workspace_id: UUID
    """
    The workspace's id.
    """
    workspace_name: str
    """
    The workspace's display name.
    """
    workspace_slug: str
    """
    The workspace's name in URLs.
    """


class DeploymentClaims(BaseModel):
    """
    The data plane inside the claims.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    api_base_url: str | None = None
    """
    The base URL of its own API.
    """
    id: UUID
    """
    The deployment's id.
    """
    name: str
    """
    Its name, unique in its organization.
    """
    region: str | None = None
    """
    The region where it runs, as the vendor names it.
    """
    status: str
    """
    Its status when the token was issued, such as `active`.
    """
    type: Annotated[str, Field(examples=['cloud', 'onprem', 'demo'])]
    """
    The kind of place where it runs.
    """


class EncodedStatusList(BaseModel):
    """
    The compressed statuses of many tokens (§4.2). `StatusList` encodes and decodes them.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    bits: EntryBits
    """
    The number of bits of an entry.
    """
    lst: str
    """
    The entries: base64url without padding, of ZLIB (RFC 1950), of the packed bytes.
    """


class Enforcement(BaseModel):
    """
    The rules for a data plane without current information.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    grace_seconds: int
    """
    The time after `exp` for which the license still works, in seconds.
    """
    on_stale: Annotated[str, Field(examples=['allow', 'degrade', 'block'])]
    """
    The action when no status list is recent enough.
    """
    status_max_age: int
    """
    The maximum age of a status list, in seconds.
    """


class Event(BaseModel):
    """
    An event: one audit event with its place in the log. Since 2.11.0.

    An event names what changed, without values. A receiver that needs more reads the API with its own
    permissions, and gets the current state.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    actor: EventActor
    """
    The caller that acted.
    """
    after: Any | None = None
    """
    The state after the change, with masked secrets; only for webhooks that include it.
    """
    at: AwareDatetime
    """
    When the server recorded the event.
    """
    changed: list[str]
    """
    The names of the members that differ before and after; empty when a state is not known, as for
    a new object.
    """
    erased: bool | None = None
    """
    Whether the content of the event was erased.
    """
    id: UUID
    """
    The event's id, which is that of the audit event. It is the same in every delivery.
    """
    organization_id: UUID | None = None
    """
    The organization; absent for events of the platform.
    """
    reason: str | None = None
    """
    The reason, in the words of the caller.
    """
    seq: int
    """
    The position in the log, counted from 0.
    """
    target: EventTarget
    """
    The object that changed.
    """
    truncated: bool | None = None
    """
    Whether `after` is left out because the event would be too large.
    """
    type: str
    """
    The type, such as `licenses.revoke`. Later versions of the server add types.
    """


class Lease(BaseModel):
    """
    A lease: one tenure of one holder on one seat of a pool. Since 2.10.0.

    An ended lease stays ended; the next tenure of the same holder has another ID.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    acquired_at: AwareDatetime
    """
    The start of the tenure.
    """
    borrowed_until: AwareDatetime | None = None
    """
    The end of the borrowing; null when the lease is not borrowed.
    """
    deployment_id: UUID
    """
    The license's deployment.
    """
    end: str | None = None
    """
    The reason for the end; null while the lease is live.
    """
    ended_at: AwareDatetime | None = None
    """
    The instant at which the lease ended; null while it is live.
    """
    expires_at: AwareDatetime | None = None
    """
    The end without another heartbeat; null for a lease that lasts until its release.
    """
    heartbeat_at: AwareDatetime
    """
    The last claim or heartbeat.
    """
    holder: LeaseHolder
    """
    The holder.
    """
    id: UUID
    """
    The lease's id.
    """
    kind: Annotated[str, Field(examples=['seat', 'node', 'floating'])]
    """
    The kind of the pool.
    """
    label: str | None = None
    """
    The caller's own description of the holder.
    """
    license_id: UUID
    """
    The license whose seat it is.
    """
    meta: dict[str, str]
    """
    The caller's own values.
    """
    next_at: AwareDatetime
    """
    The instant of the next heartbeat.
    """
    not_before: AwareDatetime
    """
    Before this instant a heartbeat changes nothing.
    """
    overage: bool
    """
    Whether the seat is beyond the pool's cap.
    """
    pool: str
    """
    The pool, such as `seats`.
    """
    seat: int
    """
    The number of the seat, from 1.
    """
    state: Annotated[str, Field(examples=['live', 'over'])]
    """
    Whether the holder has the seat.
    """
    token: str | None = None
    """
    The lease token, in the answers to requests with `token: true`. It is a credential.
    """


class LeaseBodyClaims(BaseModel):
    """
    The lease inside the claims. Since 2.10.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    borrowed: bool
    """
    Whether the lease is borrowed: no heartbeat is needed before its end.
    """
    components: list[str] | None = None
    """
    The hashes of the machine's components, in the order of their names.
    """
    holder: str
    """
    The hash of the holder, as in `LeaseHolder::hash`.
    """
    kind: Annotated[str, Field(examples=['seat', 'node', 'floating'])]
    """
    The kind of the pool.
    """
    license_id: UUID
    """
    The license whose seat it is.
    """
    match: str | None = None
    """
    The number of components that must match; absent when the fingerprint must.
    """
    overage: bool
    """
    Whether the seat is beyond the pool's cap.
    """
    pool: str
    """
    The pool.
    """


class LicenseFileClaims(BaseModel):
    """
    The payload of a license file: everything that a data plane without a network needs.

    The content of the file is one compact JWS (RFC 7515 §7.1), signed like a license token, with a
    header of `alg`, `typ` `LICENSE_FILE_TYP` and `kid`. A file with a token is a bundle file. A
    file without a token is a refresh file.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    checkpoint: str | None = None
    """
    The log's checkpoint when the file was created: an opaque text.
    """
    consistency: str | None = None
    """
    The proof that the log of `checkpoint` extends the log of the deployment's last usage
    report: `old`, a space and the size of the reported log, then one base64 hash per line (RFC
    6962 §2.1.2), in the form of C2SP tlog-witness.
    """
    contract: Annotated[
        str,
        Field(
            pattern='^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)(?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$'
        ),
    ]
    """
    The version of the contract of these claims.
    """
    iat: int
    """
    When the file was created, in seconds since 1970-01-01T00:00:00Z.
    """
    iss: str
    """
    The issuer of the file: the control plane's base URL, as in license tokens.
    """
    jwks: JwkSet
    """
    The issuer's public keys.
    """
    key_chain: list[str] | None = None
    """
    Endorsements of keys, each a compact JWS of `SigningKeyClaims`, oldest first. They lead
    from a key that the data plane trusts to the key that signed this file.
    """
    license_id: UUID
    """
    The license.
    """
    proof: str | None = None
    """
    The proof that the token is in the log: an opaque text.
    """
    seq: int
    """
    The number of the file within its license: the second since 1970-01-01T00:00:00Z in which it
    was created, or one more than the last number. Issuers of earlier versions counted from 1. A
    data plane refuses a file whose number is not above those of all files that it imported.

    The number is at most 86,400 above the greater of two values: the number of the previous
    file, and `iat`. Without the bound, one file could lock out all later ones.
    """
    status_list: str | None = None
    """
    The status list token that the license's `status` refers to.
    """
    sub: UUID
    """
    The deployment's id, as in license tokens.
    """
    token: str | None = None
    """
    The license token; absent in a refresh file.
    """


class PoolClaims(BaseModel):
    """
    A pool of seats inside the claims of a license token. Since 2.10.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    cap: int | None = None
    """
    The number of seats; null is unlimited.
    """
    kind: Annotated[str, Field(examples=['seat', 'node', 'floating'])]
    """
    The kind of the pool.
    """


class Problem(BaseModel):
    """
    The body of every error response of the control plane: `application/problem+json` (RFC 9457).
    """

    model_config = ConfigDict(
        extra='allow',
    )
    code: Annotated[
        str,
        Field(
            examples=[
                'bad_request',
                'unauthenticated',
                'forbidden',
                'not_found',
                'identity_unknown',
                'limit_not_set',
                'method_not_allowed',
                'not_acceptable',
                'timeout',
                'conflict',
                'slug_taken',
                'external_id_taken',
                'name_taken',
                'code_taken',
                'email_taken',
                'email_domain_taken',
                'auth_account_taken',
                'already_member',
                'owner_protected',
                'invitation_pending',
                'invitation_closed',
                'use_transfer_ownership',
                'in_use',
                'over_allocated',
                'system_protected',
                'organization_not_empty',
                'status_change_refused',
                'subscription_exists',
                'license_exists',
                'organization_suspended',
                'deployment_inactive',
                'subscription_inactive',
                'license_revoked',
                'license_suspended',
                'license_expired',
                'license_not_yet_valid',
                'key_not_yet_propagated',
                'report_replayed',
                'seats_exhausted',
                'lease_over',
                'lease_borrowed',
                'webhook_disabled',
                'idempotency_in_progress',
                'precondition_failed',
                'too_large',
                'uri_too_long',
                'unsupported_media_type',
                'invalid',
                'role_unknown',
                'group_cycle',
                'quota_is_counted',
                'token_too_large',
                'idempotency_key_reused',
                'key_refused',
                'rate_limited',
                'quota_exceeded',
                'limit_exceeded',
                'headers_too_large',
                'internal',
                'provider_failed',
                'unavailable',
            ]
        ),
    ]
    """
    The machine-readable code. Match on this member, never on the texts.
    """
    detail: str
    """
    The explanation of this occurrence, and what to do about it.
    """
    errors: list[FieldError] | None = None
    """
    The refused fields, when a request has several. The first one is also in `field` and `detail`.
    Since 2.8.0.
    """
    field: str | None = None
    """
    The refused field of the request, such as `seat_cap`.
    """
    request_id: str | None = None
    """
    The request's id, as in the `X-Request-Id` header and the server's log.
    """
    status: Annotated[int, Field(ge=0, le=65535)]
    """
    The HTTP status, 400 to 599.
    """
    title: str
    """
    A short description of the kind of problem, fixed for each code.
    """
    type: str
    """
    A URI reference that names the kind of problem: `/problems/<code>` below the server's base URL. It
    leads to a page about the code.
    """


class StatusClaim(BaseModel):
    """
    The location of the token's status (draft-ietf-oauth-status-list §6.1).
    """

    model_config = ConfigDict(
        extra='allow',
    )
    status_list: StatusListRef
    """
    The entry in a status list.
    """


class StatusListClaims(BaseModel):
    """
    The payload of a status list token: a JWT (RFC 7519), signed like a license token, with the
    `typ` `STATUS_LIST_TYP` (§5.1).
    """

    model_config = ConfigDict(
        extra='allow',
    )
    exp: int
    """
    When the list expires, in seconds since 1970-01-01T00:00:00Z.
    """
    iat: int
    """
    When the list was issued, in seconds since 1970-01-01T00:00:00Z.
    """
    status_list: EncodedStatusList
    """
    The statuses.
    """
    sub: str
    """
    The URL of the list, which is the `uri` in its tokens.
    """
    ttl: int
    """
    The time for which a copy is fresh, in seconds; more than 0.
    """


class UsageReport(BaseModel):
    """
    A usage report: a JSON file that an operator carries from a data plane to the control plane.

    A data plane has no key, so the file is not signed. `sequence` and
    `previous` reveal missing, repeated and exchanged reports. Parsing refuses
    negative counters and a sequence below 1.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    checkpoint: str | None = None
    """
    The last checkpoint of the log that the data plane has seen: an opaque text.
    """
    contract: Annotated[
        str,
        Field(
            pattern='^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)(?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$'
        ),
    ]
    """
    The version of the contract of this report.
    """
    counters: dict[str, float]
    """
    The usage in that time, by metric, in the metric's unit; 0 or more.
    """
    deployment_id: UUID
    """
    The reporting deployment.
    """
    file_seq: int | None = None
    """
    The `seq` of the last license file that the data plane imported.
    """
    kind: UsageReportKind
    """
    The kind of document.
    """
    leases: dict[str, PoolUsage] | None = None
    """
    The use of seats in that time, by pool. Since 2.10.0.
    """
    license_id: UUID
    """
    The deployment's license.
    """
    previous: str | None = None
    """
    SHA-256 of the bytes of the previous report, in lower-case hex; absent in the first.
    """
    sequence: Annotated[int, Field(ge=1)]
    """
    The number of the report within its deployment: 1 for the first, then one more each time.
    """
    since: AwareDatetime
    """
    The start of the reported time; inclusive.
    """
    status_list_iat: int | None = None
    """
    The `iat` of the data plane's status list, in seconds since 1970-01-01T00:00:00Z.
    """
    until: AwareDatetime
    """
    The end of the reported time; exclusive.
    """


class Validation(BaseModel):
    """
    The response to `POST /api/v1/licenses/validate`. Since 2.10.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    code: Annotated[
        str,
        Field(
            examples=[
                'key_unknown',
                'key_revoked',
                'key_expired',
                'organization_suspended',
                'deployment_inactive',
                'subscription_inactive',
                'license_revoked',
                'license_suspended',
                'license_expired',
                'license_not_yet_valid',
                'version_not_covered',
                'feature_missing',
                'pool_unknown',
                'holder_required',
                'not_activated',
                'lease_over',
                'seats_exhausted',
                'valid_in_grace',
                'valid',
            ]
        ),
    ]
    """
    The first reason that holds. Match on this member, never on the text.
    """
    detail: str
    """
    The explanation, and what to do about it.
    """
    lease: Lease | None = None
    """
    The holder's lease, if the request names a holder that has one.
    """
    lease_token: str | None = None
    """
    The lease token, if the request asks for it. It is a credential.
    """
    license: ValidatedLicense | None = None
    """
    The license; absent when the key is unknown, revoked or expired.
    """
    retry_after: int | None = None
    """
    The seconds after which another attempt may succeed.
    """
    token: str | None = None
    """
    The license token, if the request asks for it. It is a credential.
    """
    valid: bool
    """
    Whether the key may be used: the code is `valid` or `valid_in_grace`.
    """


class WebhookPayload(BaseModel):
    """
    The body of a webhook, in the form of the Standard Webhooks specification. Since 2.11.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    data: Event
    """
    The event.
    """
    timestamp: AwareDatetime
    """
    When the event happened.
    """
    type: str
    """
    The type of the event.
    """


class WhoAmIMembershipV1(BaseModel):
    """
    The person's membership in one workspace, in contract 1.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    organization_id: UUID
    """
    The organization that owns the workspace.
    """
    role: WhoAmIRoleV1
    """
    The role held there.
    """
    status: str
    """
    `ACTIVE`, `INVITED` or `SUSPENDED`. Only this response uses upper case, as published.
    """
    workspace_id: UUID
    """
    The workspace's id.
    """
    workspace_name: str
    """
    The workspace's display name.
    """
    workspace_slug: str
    """
    The workspace's name in URLs.
    """


class WhoAmIOrganizationV2(BaseModel):
    """
    The person's role in the administration of one organization, in contract 2.x (since 2.4).
    """

    model_config = ConfigDict(
        extra='allow',
    )
    organization_id: UUID
    """
    The organization's id.
    """
    organization_name: str
    """
    The organization's display name.
    """
    organization_slug: str
    """
    The organization's name in URLs.
    """
    permissions: list[str] | None = []
    """
    The permissions there.
    """
    role: WhoAmIRoleV2
    """
    The role held there.
    """
    status: str
    """
    The membership's status, such as `active`.
    """


class WhoAmIResponseV1(BaseModel):
    """
    The response of contract 1.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    memberships: list[WhoAmIMembershipV1]
    """
    The workspaces that the person belongs to.
    """
    user: WhoAmIUserV1
    """
    The person.
    """


class WhoAmIResponseV2(BaseModel):
    """
    The response of contract 2.x.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    organizations: Annotated[
        list[WhoAmIOrganizationV2] | None, Field(validate_default=True)
    ] = []
    """
    The organizations that the person administers. This grants nothing inside their workspaces.
    """
    rbac_revision: dict[str, int] | None = {}
    """
    By workspace id, a number that grows whenever the response for that workspace may change.
    """
    superadmin: bool | None = False
    """
    Whether the person has all permissions on the platform.
    """
    user: WhoAmIUserV2
    """
    The person.
    """
    workspaces: Annotated[
        list[WhoAmIWorkspaceV2] | None, Field(validate_default=True)
    ] = []
    """
    The workspaces that the person belongs to, with the permissions in each.
    """


class LeaseClaims(BaseModel):
    """
    The payload of a lease token. Since 2.10.0.

    The token is a JWT (RFC 7519), signed like a license token with
    `LICENSE_TOKEN_ALG`. It counts only beside a valid license token of
    the same issuer, deployment and license.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    aud: str
    """
    The audience, as in the license token (RFC 7519 §4.1.3).
    """
    contract: SemVer | None = None
    """
    The version of the contract of these claims.
    """
    exp: int
    """
    The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
    """
    hbnbf: int
    """
    Before this instant a heartbeat changes nothing, in seconds since 1970-01-01T00:00:00Z.
    """
    iat: int
    """
    When the token was issued, in seconds since 1970-01-01T00:00:00Z.
    """
    iss: str
    """
    The issuer: the control plane's base URL (RFC 7519 §4.1.1).
    """
    jti: UUID
    """
    The lease's id.
    """
    lease: LeaseBodyClaims
    """
    The lease.
    """
    nbf: int
    """
    The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
    """
    status: StatusClaim | None = None
    """
    The location of the token's revocation status; only borrowed leases have one.
    """
    sub: UUID
    """
    The deployment's id.
    """


class LicenseBodyClaims(BaseModel):
    """
    The license inside the claims.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    deployment: DeploymentClaims
    """
    The licensed data plane.
    """
    features: dict[str, Any]
    """
    The effective features: any JSON values, by name.
    """
    leasing: dict[str, PoolClaims] | None = None
    """
    The pools of seats, by name. Since 2.10.0.
    """
    license_id: UUID
    """
    The license's id; the same for all its bundles.
    """
    limits: dict[str, int | None] | None = None
    """
    The plan's declared limits, by metric. `null` is unlimited. An absent metric is not
    included.
    """
    organization: OrganizationClaims
    """
    The customer.
    """
    plan: PlanClaims
    """
    The price tier.
    """
    seat_cap: int
    """
    The maximum number of people who use the deployment; 0 or more.
    """
    subscription: SubscriptionClaims
    """
    The subscription that the license belongs to.
    """
    unlimited: list[str] | None = None
    """
    The metrics that are unlimited, by name. A language that reads an absent member and `null` alike
    finds here what `limits` says with `null`. Since 2.7.0.
    """


class DeploymentLicenseClaims(BaseModel):
    """
    The payload of a license token: the customer, the deployment, its entitlement and the term.

    The token is a JWT (RFC 7519) signed with `LICENSE_TOKEN_ALG`, whose
    header has `typ` `LICENSE_TOKEN_TYP` and a `kid`. Parsing this type
    checks nothing: only a verified token is a license.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    aud: str
    """
    The audience that the data plane is configured with: one string (RFC 7519 §4.1.3).
    """
    contract: SemVer | None = None
    """
    The version of the contract of these claims; absent in tokens before 2.5.
    """
    cp_base_url: str | None = None
    """
    The control plane's base URL, for data planes that call it.
    """
    enforcement: Enforcement | None = None
    """
    The rules for a stale status and for the time after expiry.
    """
    exp: int
    """
    The end of validity, in seconds since 1970-01-01T00:00:00Z; exclusive.
    """
    iat: int
    """
    When the token was issued, in seconds since 1970-01-01T00:00:00Z.
    """
    iss: str
    """
    The issuer: the control plane's base URL (RFC 7519 §4.1.1).
    """
    jti: UUID
    """
    The id of this bundle; no two tokens share one.
    """
    license: LicenseBodyClaims
    """
    The license.
    """
    nbf: int
    """
    The start of validity, in seconds since 1970-01-01T00:00:00Z; inclusive.
    """
    rbac_endpoint: str | None = None
    """
    The URL at which the data plane resolves an identity to a person (`whoami`).
    """
    status: StatusClaim | None = None
    """
    The location of the token's revocation status.
    """
    sub: UUID
    """
    The deployment's id; the same as `license.deployment.id`.
    """


class LicenseBundleResponse(BaseModel):
    """
    The response to `POST /api/v1/licenses/{id}/bundles`: one signed token and its decoded claims.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    algorithm: str
    """
    The signature algorithm, `LICENSE_TOKEN_ALG`.
    """
    bundle_hash: str
    """
    SHA-256 of the token's bytes, in lower-case hex: it identifies the token without revealing
    it.
    """
    expires_at: AwareDatetime
    """
    When the token expires; exclusive.
    """
    issued_at: AwareDatetime
    """
    When the token was issued.
    """
    jti: UUID
    """
    The bundle's id, which is the token's `jti`.
    """
    key_id: str
    """
    The `kid` of the key that signed the token.
    """
    license_id: UUID
    """
    The license that the bundle belongs to.
    """
    payload: DeploymentLicenseClaims
    """
    The token's claims, decoded, for people and logs. A data plane reads them from the token.
    """
    token: str
    """
    The license token: a compact JWS (RFC 7515 §7.1). It is a credential; no other response has
    it.
    """


class CheckIn(BaseModel):
    """
    The response to `POST /api/v1/deployments/{id}/check-in`. Since 2.10.0.
    """

    model_config = ConfigDict(
        extra='allow',
    )
    bundle: LicenseBundleResponse | None = None
    """
    The new token, if the server signed one.
    """
    code: Annotated[
        str,
        Field(
            examples=[
                'valid',
                'license_missing',
                'organization_suspended',
                'deployment_inactive',
                'subscription_inactive',
                'license_revoked',
                'license_suspended',
                'license_expired',
                'license_not_yet_valid',
            ]
        ),
    ]
    """
    `valid`, or the first reason for which the license is not in force.
    """
    license_id: UUID | None = None
    """
    The license; absent when the deployment has none.
    """
    next_check_in_at: AwareDatetime
    """
    The instant of the next check-in.
    """
    not_before: AwareDatetime
    """
    Before this instant the server signs nothing.
    """
    server_time: AwareDatetime
    """
    The server's clock.
    """
