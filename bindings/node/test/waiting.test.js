// The event loop goes on while a call waits for the network.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs/promises");
const { test } = require("node:test");
const { FetchError, Verifier } = require("..");
const { lateControlPlane, settingsAt, token } = require("./support.js");

// The time by which the control plane is late, in milliseconds.
const LATE = 1_000;

// Checks a token by a timer again and again during a call. Returns the result of the call.
async function goesOnDuring(verifier, call) {
  let checks = 0;
  const timer = setInterval(() => {
    assert.equal(verifier.verify(token).state, "valid");
    checks += 1;
  }, 5);
  const begun = performance.now();
  try {
    return await call();
  } finally {
    clearInterval(timer);
    const took = performance.now() - begun;
    assert.ok(took >= LATE * 0.9, `the call did not wait: ${took}`);
    // A call that blocks the event loop stops the timer, so there would be one check or none.
    assert.ok(checks >= 20, `${checks} checks in ${took} ms`);
  }
}

test("build, refresh, check-in and leases do not block the event loop", async (t) => {
  const { answerLate, url } = await lateControlPlane(t);
  const own = await Verifier.create({ ...settingsAt(url), jwksCooldown: 1 });
  await answerLate(LATE / 1_000);
  await goesOnDuring(own, () => Verifier.create(settingsAt(url)));
  // The status list of the token is at an issuer that does not exist.
  await assert.rejects(goesOnDuring(own, () => own.refresh()), FetchError);
  await goesOnDuring(own, () => own.checkIn());
  const seats = own.leases("cpat_token");
  const lease = await goesOnDuring(own, () => seats.acquire("seats", { id: "a" }));
  await goesOnDuring(own, () => lease.borrow(60));
  await goesOnDuring(own, () => lease.release());
});

test("waiting calls leave the threads of libuv to Node", async (t) => {
  const { answerLate, url } = await lateControlPlane(t);
  const own = await Verifier.create(settingsAt(url));
  await answerLate(LATE / 1_000);
  const begun = performance.now();
  // More calls than libuv has threads.
  const calls = Array.from({ length: 8 }, () => own.checkIn());
  for (let n = 0; n < 10; n += 1) await fs.readFile(__filename);
  const read = performance.now() - begun;
  await Promise.all(calls);
  const took = performance.now() - begun;
  assert.ok(took >= LATE * 0.9 && read < took / 2, `files were read in ${read} of ${took} ms`);
});
