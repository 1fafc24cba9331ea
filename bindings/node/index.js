// Checks license tokens in a data plane: strict, fast, offline. `index.d.ts` has the types.
"use strict";

const native = require("./dp_verifier.node");

class LicenseError extends Error {
  constructor({ code, detail, http_status, advice = null, state = null }) {
    super(`${code}: ${detail}`);
    this.name = new.target.name;
    this.code = code;
    this.detail = detail;
    this.httpStatus = http_status;
    this.advice = advice;
    this.state = state;
  }

  problem() {
    const { httpStatus: status, code, detail } = this;
    return { type: "about:blank", title: "The license token is refused.", status, code, detail };
  }
}

class VerifyError extends LicenseError {}
class NotEntitled extends LicenseError {}
class SettingsError extends LicenseError {}
class FetchError extends LicenseError {}
class LeaseError extends LicenseError {}

const KINDS = {
  refused: VerifyError,
  not_entitled: NotEntitled,
  settings: SettingsError,
  fetch: FetchError,
  lease: LeaseError,
};

function converted(error) {
  let failure;
  try {
    failure = JSON.parse(error.message);
  } catch {
    // A panic is a generic failure. All other errors of napi are about the types of arguments.
    if (error.code !== "GenericFailure") return new TypeError(error.message);
    failure = { code: "internal_error", detail: error.message, http_status: 500 };
  }
  return new (KINDS[failure.kind] ?? LicenseError)(failure);
}

function run(call) {
  try {
    return call();
  } catch (error) {
    throw converted(error);
  }
}

async function later(call) {
  try {
    return await call();
  } catch (error) {
    throw converted(error);
  }
}

const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

// Settings are camelCase here and snake_case in the other languages. Both are accepted.
function settingsOf(settings) {
  const given = Object.entries(settings).filter(([, value]) => value != null);
  return JSON.stringify(Object.fromEntries(given.map(([name, value]) => [snake(name), value])));
}

function holderOf({ userId, machineId, ...holder }) {
  if (userId !== undefined) holder.user_id = userId;
  if (machineId !== undefined) holder.machine_id = machineId;
  return JSON.stringify(holder);
}

function optionsOf({ takeOver, ...options }) {
  return JSON.stringify(takeOver === undefined ? options : { ...options, take_over: takeOver });
}

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
    return this.#native.hasFeature(name);
  }

  limit(metric) {
    return new Limit(this.#native.limit(metric));
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
    const text = typeof jwks === "string" ? jwks : JSON.stringify(jwks);
    run(() => this.#native.replaceKeys(text));
  }

  health() {
    return JSON.parse(this.#native.health());
  }

  usageReport(counters, leases = {}) {
    return run(() => this.#native.usageReport(JSON.stringify(counters), JSON.stringify(leases)));
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
    return new Leases(KEY, this.#native.leases(credential));
  }

  setFixedTime(now) {
    run(() => this.#native.setFixedTime(now));
  }
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
};
