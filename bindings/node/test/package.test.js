// The objects of the package.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");
const { FetchError, LeaseError, LicenseContext, NotEntitled } = require("..");
const { SettingsError, Verifier, VerifyError } = require("..");
const { controlPlane, genuine, settingsAt, token, verifier } = require("./support.js");

test("license has typed properties", () => {
  const own = verifier();
  const license = own.verify(token);
  assert.equal(license.state, "valid");
  assert.equal(license.licenseId, "018f2a00-0000-7000-8000-000000000001");
  assert.equal(license.expiresAt.toISOString(), "2026-01-31T00:00:00.000Z");
  assert.equal(license.expiresAt - license.issuedAt, 30 * 86_400_000);
  assert.equal(license.organization.slug, "acme");
  assert.equal(license.seatCap, 50);
  assert.equal(license.feature("max_workspaces"), 10);
  assert.equal(license.feature("toString"), undefined);
  assert.ok(license.hasFeature("alerts_enabled") && !license.hasFeature("exports_enabled"));
  assert.equal(license.claims.aud, "data-plane");
  assert.equal(JSON.parse(JSON.stringify(license)).state, "valid");
  own.setFixedTime(genuine.now + 60 * 86_400);
  assert.equal(own.stateOf(license), "expired");
  assert.throws(() => new LicenseContext({}), TypeError);
});

test("limits distinguish unlimited from not included", () => {
  const license = verifier().verify(token);
  const limit = license.limit("max_workspaces");
  assert.deepEqual([limit.kind, limit.value], ["at_most", 10]);
  assert.ok(limit.allowsAnother(9) && !limit.allowsAnother(10));
  assert.equal(license.limit("projects").kind, "not_included");
  assert.throws(() => limit.allowsAnother(-1), SettingsError);
});

test("missing entitlement is an error", () => {
  const license = verifier().verify(token);
  license.requireFeature("alerts_enabled");
  license.requireAnother("max_workspaces", 9);
  license.requireState("valid", "expiring");
  const refused = (code) => (error) => error instanceof NotEntitled && error.code === code;
  assert.throws(() => license.requireFeature("exports_enabled"), refused("feature_not_included"));
  assert.throws(() => license.requireAnother("max_workspaces", 10), refused("limit_reached"));
  assert.throws(() => license.requireState("grace"), refused("license_state_insufficient"));
});

test("refusal has a code and advice", () => {
  const refused = (code, httpStatus, state) => (error) => {
    assert.ok(error instanceof VerifyError && error.advice.length > 20);
    assert.deepEqual([error.code, error.httpStatus, error.state], [code, httpStatus, state]);
    assert.equal(error.problem().status, httpStatus);
    return true;
  };
  assert.throws(() => verifier().verify(`${token}=`), refused("token_malformed", 401, null));
  assert.throws(() => verifier().verifyAt(token, 2e9), refused("expired", 403, "expired"));
  assert.throws(() => verifier().verify(7), TypeError);
});

test("invalid setting is named and not quoted", () => {
  assert.throws(() => new Verifier({ isuer: "x" }), /unknown field `isuer`/);
  const settings = { issuer: "x", audience: "y", jwks: { keys: [] }, leeway: "s3cr3t" };
  assert.throws(
    () => new Verifier(settings),
    (error) => error instanceof SettingsError && !error.message.includes("s3cr3t"),
  );
});

test("keys come from a URL, and a check-in brings a token", async (t) => {
  const url = await controlPlane(t);
  const { jwks, ...settings } = genuine.settings;
  const deployment = `${url}/api/v1/deployments/018f2a00-0000-7000-8000-000000000003`;
  const own = await Verifier.create({
    ...settings,
    fixedTime: genuine.now,
    jwksUrl: `${url}/jwks.json`,
    checkIn: { url: `${deployment}/check-in`, credential: "cpat_token" },
  });
  assert.equal(own.verify(token).state, "valid");
  assert.equal(own.current().state, "valid");
  assert.equal(own.currentToken, token);
  await own.checkIn();
  await own.waitForStatus(token);
  assert.equal(own.health().check_in.code, "valid");
  assert.equal(own.health().keys.last_error, null);
  const unreachable = await Verifier.create({ ...settings, jwksUrl: "http://127.0.0.1:1/" });
  await assert.rejects(unreachable.refresh(), FetchError);
  await assert.rejects(Verifier.create({ ...settings, jwks, leeway: 301 }), SettingsError);
});

test("lease ends waits and names refusals", async (t) => {
  const own = await Verifier.create(settingsAt(await controlPlane(t)));
  const refusal = (error) => error instanceof LeaseError && error.code === "ok" && error.httpStatus === 409;
  const imported = own.leases({ licenseKey: "IMPORTED-7" });
  await assert.rejects(imported.acquire("refuse-ok", { id: "a" }), refusal);
  const lease = await own.leases("cpat_token").acquire("seats", { id: "a" });
  assert.equal(await lease.borrow(3600), "lease-token");
  assert.deepEqual([lease.state, lease.toJSON().refusal], ["borrowed", null]);
  // The wait alone does not keep the process alive.
  const alive = setInterval(() => {}, 1_000);
  const lost = lease.lost();
  await lease.release();
  assert.equal(await lost, "released");
  clearInterval(alive);
  const readiness = own.readiness();
  assert.deepEqual([readiness.ready, readiness.http_status, readiness.license.state], [true, 200, "valid"]);
});

test("lease is held and released", async (t) => {
  const url = await controlPlane(t);
  const deployment = `${url}/api/v1/deployments/018f2a00-0000-7000-8000-000000000003`;
  const checkIn = { url: `${deployment}/check-in`, credential: "cpat_token" };
  const own = new Verifier({ ...genuine.settings, fixedTime: genuine.now, checkIn });
  const seats = own.leases("cpat_token");
  const first = await seats.acquire("seats", { id: "session-1" }, { label: "first" });
  assert.equal(first.state, "held");
  assert.equal(first.toJSON().lease.label, "first");
  const second = await seats.acquire("seats", { text: "machine-2" }, { license: own.current() });
  await assert.rejects(
    seats.acquire("seats", { email: "ada@example.com" }),
    (error) => error instanceof LeaseError && error.code === "seats_exhausted",
  );
  second.keep();
  await first.release();
  assert.deepEqual([first.state, second.state], ["released", "released"]);
  await seats.sendHeartbeats();
  assert.equal(seats.takeUsage().seats.peak, 2);
});
