// Measures the checks in Node, for speed.py: settings on standard input, times on standard output.
"use strict";

const { createRequire } = require("node:module");
const path = require("node:path");
const { Verifier } = require("../node");

const ofNode = createRequire(path.join(__dirname, "../node/package.json"));

async function microseconds(check, times) {
  await check();
  const begun = performance.now();
  for (let n = 0; n < times; n++) await check();
  return ((performance.now() - begun) / times) * 1e3;
}

async function main() {
  const { createLocalJWKSet, jwtVerify } = await import(ofNode.resolve("jose"));
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const { settings, token, now, rounds } = JSON.parse(text);
  const uncached = new Verifier({ ...settings, fixedTime: now, cache: 0 });
  const cached = new Verifier({ ...settings, fixedTime: now });
  const keys = createLocalJWKSet(settings.jwks);
  const options = {
    algorithms: ["RS256"],
    typ: "license+jwt",
    issuer: settings.issuer,
    audience: settings.audience,
    currentDate: new Date(now * 1e3),
    clockTolerance: 60,
    requiredClaims: ["exp", "nbf", "iat", "sub", "jti"],
  };
  const checks = {
    uncached: [() => uncached.verify(token), 1_000],
    cached: [() => cached.verify(token), 50_000],
    peer: [() => jwtVerify(token, keys, options), 500],
  };
  const found = Object.fromEntries(Object.keys(checks).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, [check, times]] of Object.entries(checks)) {
      found[name].push(await microseconds(check, times));
    }
  }
  process.stdout.write(JSON.stringify(found));
}

main();
