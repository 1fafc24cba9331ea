// Checks license tokens in a data plane: strict, fast, offline. `index.d.ts` has the types.
"use strict";

const { setTimeout: sleep } = require("node:timers/promises");
const errors = require("./convert.js");
const native = require("./dp_verifier.node");

const { holderOf, later, optionsOf, run, settingsOf, textOf } = errors;
const { FetchError, LeaseError, LicenseError, NotEntitled, SettingsError, VerifyError } = errors;

const KEY = Symbol("native");

class Limit {
  #native;

  constructor(limit) {
    this.#native = limit;
    this.kind = limit.kind;
    this.value = limit.value ?? null;
    Object.freeze(this);
  }

  allowsAnother(used) {
    return run(() => this.#native.allowsAnother(used));
  }
}

class LicenseContext {
  #native;
  #body;
  #claims;

  constructor(key, license) {
    if (key !== KEY) throw new TypeError("only a Verifier creates a LicenseContext");
    this.#native = license;
  }

  static native(license) {
    return license.#native;
  }

  get #license() {
    return (this.#body ??= JSON.parse(this.#native.json()));
  }

  get state() {
    return this.#native.state;
  }

  get licenseId() {
    return this.#license.license_id;
  }

  get tokenId() {
    return this.#license.token_id;
  }

  get issuedAt() {
    return new Date(this.#license.issued_at);
  }

  get notBefore() {
    return new Date(this.#license.not_before);
  }

  get expiresAt() {
    return new Date(this.#license.expires_at_seconds * 1000);
  }

  get graceUntil() {
    return new Date(this.#license.grace_until_seconds * 1000);
  }

  get seatCap() {
    return this.#license.seat_cap;
  }

  get logIndex() {
    return this.#license.log_index;
  }

  get organization() {
    return this.#license.organization;
  }

  get deployment() {
    return this.#license.deployment;
  }

  get subscription() {
    return this.#license.subscription;
  }

  get plan() {
    return this.#license.plan;
  }

  get features() {
    return this.#license.features;
  }

  get claims() {
    return (this.#claims ??= JSON.parse(this.#native.claims()));
  }

  feature(name) {
    return Object.hasOwn(this.features, name) ? this.features[name] : undefined;
  }

  hasFeature(name) {
    return run(() => this.#native.hasFeature(name));
  }

  limit(metric) {
    return new Limit(run(() => this.#native.limit(metric)));
  }

  requireFeature(name) {
    run(() => this.#native.requireFeature(name));
  }

  requireAnother(metric, used) {
    run(() => this.#native.requireAnother(metric, used));
  }

  requireState(...states) {
    run(() => this.#native.requireState(states));
  }

  toJSON() {
    return structuredClone(this.#license);
  }
}

function leaseOf({ lease_id, license_id, issued_at, expires_at, ...lease }) {
  const [issuedAt, expiresAt] = [new Date(issued_at * 1000), new Date(expires_at * 1000)];
  return Object.freeze({ leaseId: lease_id, licenseId: license_id, issuedAt, expiresAt, ...lease });
}

const license = (call) => new LicenseContext(KEY, run(call));

// The time between two looks at the state of a lease, in milliseconds.
const LOOK = 500;

class HeldLease {
  #native;

  constructor(key, lease) {
    if (key !== KEY) throw new TypeError("only Leases creates a HeldLease");
    this.#native = lease;
  }

  get state() {
    return this.#native.state;
  }

  toJSON() {
    return JSON.parse(this.#native.json());
  }

  // Looks at the state, which costs microseconds, so that the wait needs no thread of its own. The wait does
  // not keep the process alive.
  async lost() {
    while (["held", "late", "borrowed"].includes(this.state)) await sleep(LOOK, undefined, { ref: false });
    return this.state;
  }

  borrow(seconds) {
    return later(() => this.#native.borrow(seconds));
  }

  async giveBack() {
    await later(() => this.#native.giveBack());
  }

  async release() {
    await later(() => this.#native.release());
  }

  keep() {
    this.#native.keep();
  }
}

class Leases {
  #native;

  constructor(key, leases) {
    if (key !== KEY) throw new TypeError("only Verifier.leases creates Leases");
    this.#native = leases;
  }

  async acquire(pool, holder, { license: of, ...options } = {}) {
    const own = of && LicenseContext.native(of);
    const claim = () => this.#native.acquire(pool, holderOf(holder), optionsOf(options), own);
    return new HeldLease(KEY, await later(claim));
  }

  async sendHeartbeats() {
    await later(() => this.#native.sendHeartbeats());
  }

  takeUsage() {
    return JSON.parse(this.#native.takeUsage());
  }
}

class Verifier {
  #native;

  constructor(settings) {
    const isBuilt = settings instanceof native.NativeVerifier;
    this.#native = isBuilt ? settings : run(() => new native.NativeVerifier(settingsOf(settings)));
  }

  static async create(settings) {
    return new Verifier(await later(() => native.NativeVerifier.create(settingsOf(settings))));
  }

  verify(token) {
    return license(() => this.#native.verify(token));
  }

  verifyAt(token, now) {
    return license(() => this.#native.verifyAt(token, now));
  }

  verifyWithProof(token, proof) {
    return license(() => this.#native.verifyWithProof(token, proof));
  }

  verifyLease(lease, context, holder) {
    const own = LicenseContext.native(context);
    return leaseOf(JSON.parse(run(() => this.#native.verifyLease(lease, own, holderOf(holder)))));
  }

  verifyLeaseAt(lease, context, holder, now) {
    const own = LicenseContext.native(context);
    const call = () => this.#native.verifyLeaseAt(lease, own, holderOf(holder), now);
    return leaseOf(JSON.parse(run(call)));
  }

  stateOf(context) {
    return this.#native.stateOf(LicenseContext.native(context));
  }

  current() {
    return license(() => this.#native.current());
  }

  get currentToken() {
    return this.#native.currentToken ?? null;
  }

  importFile(document) {
    return JSON.parse(run(() => this.#native.importFile(document)));
  }

  importStatusList(document) {
    return JSON.parse(run(() => this.#native.importStatusList(document)));
  }

  replaceKeys(jwks) {
    const text = typeof jwks === "string" ? jwks : textOf("jwks", jwks);
    run(() => this.#native.replaceKeys(text));
  }

  readiness() {
    return JSON.parse(this.#native.readiness());
  }

  health() {
    return JSON.parse(this.#native.health());
  }

  usageReport(counters, leases = {}) {
    const usage = () => [textOf("counters", counters), textOf("leases", leases)];
    return run(() => this.#native.usageReport(...usage()));
  }

  async waitForStatus(token) {
    await later(() => this.#native.waitForStatus(token));
  }

  async refresh() {
    await later(() => this.#native.refresh());
  }

  async checkIn() {
    await later(() => this.#native.checkIn());
  }

  leases(credential) {
    const ofKey = credential?.licenseKey;
    const open = () =>
      ofKey === undefined ? this.#native.leases(credential) : this.#native.leasesOfLicenseKey(ofKey);
    return new Leases(KEY, run(open));
  }

  setFixedTime(now) {
    run(() => this.#native.setFixedTime(now));
  }
}

const stateRecord = async (path) => JSON.parse(await later(() => native.stateRecord(path)));
const logRecord = async (path) => JSON.parse(await later(() => native.logRecord(path)));

async function resetState(path, because) {
  return JSON.parse(await later(() => native.resetState(path, because)));
}

async function acceptLog(path, because) {
  return JSON.parse(await later(() => native.acceptLog(path, because)));
}

module.exports = {
  FetchError,
  HeldLease,
  LeaseError,
  Leases,
  LicenseContext,
  LicenseError,
  Limit,
  NotEntitled,
  SettingsError,
  Verifier,
  VerifyError,
  acceptLog,
  logRecord,
  resetState,
  stateRecord,
};
