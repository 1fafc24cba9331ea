// The conformance suite in `cp-contracts/vectors/`.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");
const { isDeepStrictEqual } = require("node:util");
const { LicenseError, Verifier } = require("..");
const { suite, temporaryFolder } = require("./support.js");

const METRICS = ["max_workspaces", "api_calls_per_month", "projects", "seats_extra"];
const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// Returns whether a value has all expected members.
function includes(actual, expected) {
  if (!isObject(expected) || !isObject(actual)) return isDeepStrictEqual(actual, expected);
  const entries = Object.entries(expected);
  return entries.every(([name, value]) => name in actual && includes(actual[name], value));
}

function described(license) {
  const limits = METRICS.map((metric) => [metric, license.limit(metric)]);
  return {
    state: license.state,
    license: license.toJSON(),
    limits: Object.fromEntries(limits.map(([metric, limit]) => [metric, limit.value ?? limit.kind])),
    log_index: license.logIndex,
  };
}

function outcome(run) {
  try {
    return { ok: true, ...run() };
  } catch (error) {
    if (!(error instanceof LicenseError)) throw error;
    return { ok: false, code: error.code };
  }
}

function runVector({ settings, now, build, steps }, folder) {
  const state = path.join(folder, "state.json");
  const { state_file: hasState, license_file: file, ...own } = settings;
  if (hasState) own.statePath = state;
  if (file !== undefined) {
    own.bundleFile = path.join(folder, "license.lic");
    fs.writeFileSync(own.bundleFile, file);
  }
  let [verifier, fixedTime] = [null, now];
  const start = () => void (verifier = new Verifier({ ...own, fixedTime }));
  const actions = {
    restart: start,
    set_time: (step) => verifier.setFixedTime((fixedTime = step.now)),
    damage_state_file: () => fs.writeFileSync(state, "{"),
    replace_keys: ({ jwks }) => verifier.replaceKeys(jwks),
    import_file: ({ document }) => verifier.importFile(document),
    import_status_list: ({ document }) => verifier.importStatusList(document),
    verify: ({ token }) => described(verifier.verify(token)),
    verify_with_proof: ({ token, proof }) => described(verifier.verifyWithProof(token, proof)),
    verify_lease({ token, lease, holder: { user_id: userId, ...holder }, license_at: at }) {
      const license = at === undefined ? verifier.verify(token) : verifier.verifyAt(token, at);
      const own = verifier.verifyLease(lease, license, userId ? { userId } : holder);
      return { ...own, expires_at: own.expiresAt / 1000 };
    },
  };
  const differs = (at, result, expected) =>
    includes(result, expected)
      ? null
      : `${at}: ${JSON.stringify(result)} is not ${JSON.stringify(expected)}`;
  const difference = differs("build", outcome(start), build);
  if (difference) return difference;
  for (const step of steps) {
    const result = differs(step.do, outcome(() => actions[step.do](step)), step.expect);
    if (result) return result;
  }
  return null;
}

test("every vector holds", () => {
  const vectors = suite();
  assert.ok(vectors.length > 300);
  const folder = temporaryFolder();
  const wrong = [];
  for (const vector of vectors) {
    const own = path.join(folder, vector.name);
    fs.mkdirSync(own);
    const difference = runVector(vector, own);
    if (difference) wrong.push(`${vector.name}: ${difference}`);
  }
  assert.deepEqual(wrong, []);
});
