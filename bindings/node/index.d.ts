import type {
  CheckIn as CheckInAnswer,
  DeploymentClaims,
  DeploymentLicenseClaims,
  Lease,
  LeaseClaims,
  OrganizationClaims,
  PlanClaims,
  PoolUsage,
  Problem,
  SubscriptionClaims,
} from "./contract";

/** The state of a license. */
export type LicenseState =
  | "valid"
  | "expiring"
  | "grace"
  | "stale"
  | "log_anomaly"
  | "clock_anomaly"
  | "expired"
  | "not_yet_valid"
  | "suspended"
  | "revoked";

/** The settings of a verifier. Times are in seconds. */
export interface Settings {
  /** Exactly the `iss` of every token. */
  issuer: string;
  /** Exactly the `aud` of every token. */
  audience: string;
  /** The issuer's key set: an object, or its text. */
  jwks?: object | string;
  jwksFile?: string;
  /** The issuer's key set URL. Keys, status lists and the log are fetched by threads of Rust. */
  jwksUrl?: string;
  /** A file that keeps the fetched key set over restarts. */
  jwksStore?: string;
  jwksCaFile?: string;
  jwksMaxStale?: number;
  jwksCooldown?: number;
  /** The license file with which the verifier starts. */
  bundleFile?: string;
  /** A file that keeps the verifier's state over restarts. */
  statePath?: string;
  leeway?: number;
  timeFloor?: number;
  strictClock?: boolean;
  expiringPeriod?: number;
  /** The size of the cache, in tokens. */
  cache?: number;
  logKey?: string;
  requireInclusion?: boolean;
  allowUnlogged?: boolean;
  checkIn?: { url: string; credential: string };
  tokenStore?: string;
  /** A clock that stands still, in seconds since 1970: for tests only. */
  fixedTime?: number;
}

/** A person or a machine. */
export type Holder =
  | { id: string }
  | { email: string }
  | { userId: string }
  | { provider: string; subject: string }
  | { machineId?: boolean; text?: string; components?: Record<string, string> };

/** An error with a stable code. The text is safe for logs and never contains a token. */
export class LicenseError extends Error {
  /** The code. Match on it, never on the text. */
  readonly code: string;
  readonly detail: string;
  /** The HTTP status for the response of a data plane: 401, 403 or 503. */
  readonly httpStatus: number;
  /** Advice for the operator of the data plane. */
  readonly advice: string | null;
  /** The state of a genuine license that is refused. */
  readonly state: LicenseState | null;
  /** Returns the problem document (RFC 9457) for the response of a data plane. */
  problem(): { type: string; title: string; status: number; code: string; detail: string };
}
/** A refused token, lease token, license file or status list. */
export class VerifyError extends LicenseError {}
/** A genuine license that does not entitle to an operation. */
export class NotEntitled extends LicenseError {}
/** Settings or arguments that cannot be used. */
export class SettingsError extends LicenseError {}
/** A request for keys, status lists or the log, or a check-in, that failed. */
export class FetchError extends LicenseError {}
/** A request about a lease that failed, with the code of the control plane. */
export class LeaseError extends LicenseError {}

/** The amount of a metric that a license includes. */
export class Limit {
  private constructor();
  readonly kind: "unlimited" | "at_most" | "not_included";
  /** The number of `at_most`, else `null`. Exact up to 2^53. */
  readonly value: number | null;
  /** Returns whether one more is included when `used` are in use. */
  allowsAnother(used: number): boolean;
}

/** A verified license. Only a `Verifier` creates one. */
export class LicenseContext {
  private constructor();
  /** The state when the license was verified. */
  readonly state: LicenseState;
  readonly licenseId: string;
  /** The token's own ID, its `jti`. */
  readonly tokenId: string;
  readonly issuedAt: Date;
  readonly notBefore: Date;
  /** When the token expires; exclusive. */
  readonly expiresAt: Date;
  readonly graceUntil: Date;
  readonly seatCap: number;
  /** The index of the token's entry in the issuer's log, or `null` without a checked proof. */
  readonly logIndex: number | null;
  readonly organization: OrganizationClaims;
  readonly deployment: DeploymentClaims;
  readonly subscription: SubscriptionClaims;
  readonly plan: PlanClaims;
  readonly features: Record<string, unknown>;
  /** The claims of the token. */
  readonly claims: DeploymentLicenseClaims;
  feature(name: string): unknown;
  /** Returns whether a feature is enabled: its value is `true`, not merely present. */
  hasFeature(name: string): boolean;
  /** Returns the limit of a metric. An absent metric is not included. */
  limit(metric: string): Limit;
  /** Requires an enabled feature, else throws `NotEntitled`. */
  requireFeature(name: string): void;
  /** Requires that the license includes one more of a metric, else throws `NotEntitled`. */
  requireAnother(metric: string, used: number): void;
  /** Requires one of these states, else throws `NotEntitled`. */
  requireState(...states: LicenseState[]): void;
  /** Returns the license as the command `dp-verify` prints it. */
  toJSON(): Record<string, unknown>;
}

/** A verified lease token. */
export interface LeaseContext {
  readonly leaseId: string;
  readonly licenseId: string;
  readonly pool: string;
  readonly kind: string;
  /** The hash of the holder. */
  readonly holder: string;
  readonly issuedAt: Date;
  /** The end of the lease; exclusive. */
  readonly expiresAt: Date;
  readonly borrowed: boolean;
  readonly overage: boolean;
  /** The claims of the token. */
  readonly claims: LeaseClaims;
}

/** A held seat. Call `release` when it is no longer needed. */
export class HeldLease {
  private constructor();
  readonly state: "held" | "late" | "borrowed" | "lost" | "released";
  toJSON(): {
    id?: string;
    state: string;
    code?: string | null;
    /** The problem document with which the control plane ended the lease. */
    refusal?: Problem | null;
    expires_at?: number | null;
    token?: string | null;
    lease?: Lease;
  };
  /**
   * Waits until the lease is lost, or the app has released or kept it. Returns the state within a second of that.
   * The wait does not keep the process alive.
   */
  lost(): Promise<"lost" | "released">;
  /** Borrows the seat. Returns the lease token. */
  borrow(seconds: number): Promise<string>;
  /** Returns a borrowed seat before its end. */
  giveBack(): Promise<void>;
  /** Releases the seat now. */
  release(): Promise<void>;
  /** Keeps the seat after this object is gone. */
  keep(): void;
}

/** A client that claims seats, and keeps them by heartbeats on a thread of its own. */
export class Leases {
  private constructor();
  /** Claims a seat of a pool for a holder. */
  acquire(
    pool: string,
    holder: Holder,
    options?: {
      license?: LicenseContext;
      label?: string;
      meta?: Record<string, string>;
      ttl?: number;
      borrow?: number;
      takeOver?: boolean;
      token?: boolean;
    },
  ): Promise<HeldLease>;
  /** Sends the heartbeats that are due now. */
  sendHeartbeats(): Promise<void>;
  /** Returns the use of each pool since the last call, for `Verifier.usageReport`. */
  takeUsage(): Record<string, PoolUsage>;
}

/** Whether a verifier can judge tokens. It has codes and numbers only, so it may be public. */
export interface Readiness {
  ready: boolean;
  /** What an operator should look at, the most important first. */
  reasons: string[];
  /** The status for a readiness check. */
  http_status: 200 | 503;
  keys_age_seconds?: number;
  status_list_age_seconds?: number;
  check_in_age_seconds?: number;
  /** The data plane's own license. */
  license?: {
    state?: LicenseState;
    code?: string;
    token_age_seconds?: number;
    expires_in_seconds?: number;
  };
}

/** The evidence of a contradiction of the log: two checkpoints that it has signed. */
export interface LogEvidence {
  code: string;
  at: number;
  seen: string;
  shown: string;
}

/** The issuer's log in a state file. */
export interface LogRecord {
  key: string | null;
  size: number | null;
  checkpoint: string | null;
  proofs: number;
  anomaly: LogEvidence | null;
  /** The earlier logs, the oldest first. */
  former: {
    until: number;
    because: string;
    key: string;
    checkpoint: string | null;
    anomaly: LogEvidence | null;
  }[];
}

interface StateContent {
  time_floor: number;
  file: { seq: number; license_id: string; deployment_id: string } | null;
  withdrawn_keys: { kid: string; by_file: number }[];
  status_lists: Record<string, number>;
}

/** The content of a state file, except the log. Times are in seconds since 1970. */
export interface StateRecord extends StateContent {
  /** The number of the last usage report. */
  report: number | null;
  /** The contents before each reset, the oldest first. */
  former: (StateContent & { until: number; because: string })[];
}

/** Returns the content of a state file, except the log. */
export function stateRecord(path: string): Promise<StateRecord>;
/** Resets times, keys, status lists and license files in a state file, with a reason. Returns the new content. */
export function resetState(path: string, because: string): Promise<StateRecord>;
/** Returns the issuer's log in a state file. */
export function logRecord(path: string): Promise<LogRecord>;
/** Accepts the issuer's log in a state file after a contradiction, with a reason. Returns the new record. */
export function acceptLog(path: string, because: string): Promise<LogRecord>;

/** The details of a verifier's health, for operators and metrics. Times are in seconds since 1970. */
export interface Health {
  keys: { fetched_at: number | null; last_error: string | null; attempts: number } | null;
  status_lists: { uri: string; issued_at: number; expires_at: number; ttl: number }[];
  warnings: string[];
  status_lists_error: string | null;
  check_in: {
    checked_in_at: number | null;
    code: CheckInAnswer["code"] | null;
    next_at: number | null;
    last_error: string | null;
    attempts: number;
  } | null;
  log: {
    size: number | null;
    checkpoint: string | null;
    anomaly: string | null;
    anomaly_at: number | null;
    /** The two contradicting checkpoints, which the log has signed. */
    seen: string | null;
    shown: string | null;
    checked_at: number | null;
    last_error: string | null;
  } | null;
  cache: { hits: number; misses: number } | null;
  state_error: string | null;
  time_floor: number | null;
  clock_is_behind: boolean;
}

/** A verifier of license tokens of one issuer for one audience. Create it once. */
export class Verifier {
  /** Creates a verifier. Blocks for the first response when keys come from a URL. */
  constructor(settings: Settings);
  /** Creates a verifier without blocking. */
  static create(settings: Settings): Promise<Verifier>;
  /** Checks a token now. Does no I/O. Throws `VerifyError`. */
  verify(token: string): LicenseContext;
  /** Checks a token at a time, in seconds since 1970. */
  verifyAt(token: string, now: number): LicenseContext;
  /** Checks a token with a proof that it is in the issuer's log. */
  verifyWithProof(token: string, proof: string): LicenseContext;
  /** Checks a lease token beside its license. */
  verifyLease(lease: string, license: LicenseContext, holder: Holder): LeaseContext;
  /** Checks a lease token beside its license at a time, in seconds since 1970. */
  verifyLeaseAt(lease: string, license: LicenseContext, holder: Holder, now: number): LeaseContext;
  /** Returns the current state of a license that was admitted earlier. */
  stateOf(license: LicenseContext): LicenseState;
  /** Returns the license of the data plane's own token. */
  current(): LicenseContext;
  /** The data plane's own token, a credential. */
  readonly currentToken: string | null;
  /** Imports a license file. */
  importFile(document: string): Record<string, unknown>;
  /** Imports a status list token. */
  importStatusList(document: string): Record<string, unknown>;
  /** Replaces the configured keys by those of a key set. */
  replaceKeys(jwks: object | string): void;
  readiness(): Readiness;
  health(): Health;
  /** Creates the next usage report of the license files' deployment. */
  usageReport(counters: Record<string, number>, leases?: Record<string, PoolUsage>): string;
  /** Waits for the first request for a token's status list, at most some seconds. */
  waitForStatus(token: string): Promise<void>;
  /** Fetches keys, status lists and the log now. */
  refresh(): Promise<void>;
  /** Checks in now. */
  checkIn(): Promise<void>;
  /**
   * Returns a client that holds seats, with the deployment's token or a license key. A license key from another
   * system must be `{ licenseKey }`.
   */
  leases(credential: string | { licenseKey: string }): Leases;
  /** Sets the clock of a verifier with the setting `fixedTime`, for tests. */
  setFixedTime(now: number): void;
}
