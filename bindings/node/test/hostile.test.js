// Arguments as a faulty application or its users write them.
"use strict";

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const { once } = require("node:events");
const path = require("node:path");
const { test } = require("node:test");
const { Worker } = require("node:worker_threads");
const { HeldLease, Leases, LicenseContext, SettingsError, Verifier, VerifyError } = require("..");
const { controlPlane, genuine, settingsAt, token, verifier } = require("./support.js");

const hasCode = (kind, code) => (error) => error instanceof kind && error.code === code;
const invalid = hasCode(SettingsError, "argument_invalid");

test("unpaired surrogates, NUL and huge tokens are refused", () => {
  const own = verifier();
  const cases = [
    ["a\ud800b", "token_malformed"],
    [`${token}\0`, "token_malformed"],
    ["a".repeat(1 << 26), "token_too_large"],
    ["", "token_missing"],
  ];
  for (const [text, code] of cases) assert.throws(() => own.verify(text), hasCode(VerifyError, code));
  assert.throws(() => own.importFile("a\ud800b"), hasCode(VerifyError, "token_malformed"));
});

test("number that is not whole never admits", async () => {
  const own = verifier();
  const license = own.verify(token);
  const limit = license.limit("max_workspaces");
  const wrong = [NaN, Infinity, -Infinity, -1, 0.5, 2 ** 60];
  for (const used of wrong) {
    assert.throws(() => limit.allowsAnother(used), invalid, `${used}`);
    assert.throws(() => license.requireAnother("max_workspaces", used), invalid, `${used}`);
  }
  for (const now of [NaN, Infinity, 0.5]) {
    assert.throws(() => own.verifyAt(token, now), invalid);
    assert.throws(() => own.setFixedTime(now), invalid);
  }
  assert.throws(() => new Verifier({ ...genuine.settings, leeway: NaN }), invalid);
  await assert.rejects(Verifier.create({ ...genuine.settings, cache: Infinity }), invalid);
  assert.throws(() => own.usageReport({ calls: NaN }), invalid);
  const seats = own.leases("cpat_token");
  await assert.rejects(seats.acquire("seats", { id: "a" }, { license, ttl: NaN }), invalid);
  await assert.rejects(seats.acquire("seats", { id: "a", email: "b" }, { license }), invalid);
});

test("argument of another type is a TypeError", async () => {
  const own = verifier();
  const license = own.verify(token);
  for (const wrong of [undefined, null, 7, {}, [], Symbol("x"), Buffer.from(token)]) {
    assert.throws(() => own.verify(wrong), TypeError);
    assert.throws(() => own.importFile(wrong), TypeError);
    assert.throws(() => license.hasFeature(wrong), TypeError);
    assert.throws(() => license.limit(wrong), TypeError);
    await assert.rejects(own.waitForStatus(wrong), TypeError);
    assert.throws(() => own.stateOf(wrong), TypeError);
    assert.throws(() => own.leases(wrong), TypeError);
  }
  assert.throws(() => license.limit("max_workspaces").allowsAnother("9"), TypeError);
  assert.throws(() => new Verifier(), TypeError);
});

test("objects cannot be forged", () => {
  for (const kind of [LicenseContext, HeldLease, Leases]) assert.throws(() => new kind({}), TypeError);
  const forged = Object.create(LicenseContext.prototype);
  assert.throws(() => verifier().stateOf(forged), TypeError);
  assert.throws(() => forged.state, TypeError);
});

test("worker threads have verifiers of their own", async () => {
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { Verifier } = require(workerData.module);
    parentPort.postMessage(new Verifier(workerData.settings).verify(workerData.token).state);
  `;
  const settings = { ...genuine.settings, fixedTime: genuine.now };
  const workerData = { module: path.join(__dirname, ".."), settings, token };
  const workers = [1, 2, 3].map(() => new Worker(source, { eval: true, workerData }));
  const states = await Promise.all(workers.map((worker) => once(worker, "message")));
  assert.deepEqual(states, [["valid"], ["valid"], ["valid"]]);
});

test("worker and process end while calls wait for the network", async (t) => {
  const settings = settingsAt(await controlPlane(t));
  const source = `
    const { Verifier } = require(${JSON.stringify(path.join(__dirname, ".."))});
    const own = new Verifier(${JSON.stringify(settings)});
    own.leases("cpat_token").acquire("seats", { id: "a" }).then((lease) => {
      lease.lost();
      own.refresh();
      own.checkIn();
      console.log(lease.state);
      process.exit(0);
    });
  `;
  const done = spawnSync(process.execPath, ["-e", source], { encoding: "utf8", timeout: 30_000 });
  assert.deepEqual([done.status, done.stdout], [0, "held\n"], done.stderr);
  const worker = new Worker(source.replace("console.log(lease.state);", ""), { eval: true });
  assert.deepEqual(await once(worker, "exit"), [0]);
});
