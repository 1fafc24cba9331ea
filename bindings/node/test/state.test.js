// The operator's view of a state file.
"use strict";

const assert = require("node:assert/strict");
const path = require("node:path");
const { test } = require("node:test");
const { SettingsError, Verifier, VerifyError } = require("..");
const { acceptLog, logRecord, resetState, stateRecord } = require("..");
const { suite, temporaryFolder } = require("./support.js");

test("operator accepts a log and resets a state file", async () => {
  const state = path.join(temporaryFolder(), "state.json");
  for (const read of [stateRecord, logRecord]) await assert.rejects(read(state), SettingsError);
  const vector = suite().find(({ name }) => name === "second_history_of_the_log_is_refused");
  const { state_file: _, ...settings } = vector.settings;
  const [proved, first, second] = vector.steps;
  const own = new Verifier({ ...settings, statePath: state, fixedTime: vector.now });
  own.verifyWithProof(proved.token, proved.proof);
  own.importFile(first.document);
  const splitView = (error) => error instanceof VerifyError && error.code === "split_view";
  assert.throws(() => own.importFile(second.document), splitView);
  assert.ok(own.readiness().reasons.includes("log_anomaly"));
  const { anomaly } = await logRecord(state);
  const { log } = own.health();
  assert.deepEqual([anomaly.seen, anomaly.shown], [log.seen, log.shown]);
  const noReason = (error) => error instanceof SettingsError && error.code === "argument_invalid";
  for (const change of [acceptLog, resetState]) await assert.rejects(change(state, " "), noReason);
  assert.equal((await acceptLog(state, "restored")).former[0].because, "restored");
  assert.equal((await logRecord(state)).anomaly, null);
  assert.ok((await stateRecord(state)).file.seq > 0);
  assert.equal((await resetState(state, "a wrong number")).file, null);
  assert.equal((await stateRecord(state)).former[0].because, "a wrong number");
});
