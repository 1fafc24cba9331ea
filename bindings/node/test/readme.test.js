// The Node samples of the READMEs run.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");
const { controlPlane, genuine, temporaryFolder, token } = require("./support.js");

const AsyncFunction = (async () => {}).constructor;

for (const page of ["README.md", "node/README.md"]) {
  test(`sample of ${page} runs`, async (t) => {
    const folder = temporaryFolder();
    const text = fs.readFileSync(path.join(__dirname, "../..", page), "utf8");
    let sample = text.split("```javascript\n")[1].split("```")[0];
    for (const [words, others] of [
      ["https://licenses.example.com/.well-known/jwks.json", `${await controlPlane(t)}/jwks.json`],
      ["https://licenses.example.com", genuine.settings.issuer],
      ["/var/lib/acme", folder],
      ['audience: "data-plane",', `audience: "data-plane", fixedTime: ${genuine.now},`],
    ]) {
      assert.ok(sample.includes(words), words);
      sample = sample.replaceAll(words, others);
    }
    const load = (name) => require(name === "dp-verifier" ? ".." : name);
    const run = new AsyncFunction("require", "token", "used", `${sample}; return license;`);
    assert.equal((await run(load, token, 1)).state, "valid");
    assert.ok(fs.existsSync(path.join(folder, "license-state.json")));
  });
}
