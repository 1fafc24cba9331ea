// The middlewares of Express and Fastify.
"use strict";

const assert = require("node:assert/strict");
const http = require("node:http");
const { once } = require("node:events");
const { test } = require("node:test");
const express = require("express");
const fastify = require("fastify");
const ofExpress = require("../express.js");
const ofFastify = require("../fastify.js");
const { token, verifier } = require("./support.js");

async function withExpress(t) {
  const app = express();
  app.get("/healthz", (_, response) => response.send("ok"));
  app.use(ofExpress.requireLicense(verifier()));
  app.get("/hello", (request, response) => response.send(request.license.organization.name));
  app.get("/exports", ofExpress.requireFeature("exports_enabled"), (_, response) => response.send(""));
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return server.address().port;
}

async function withFastify(t) {
  const app = fastify();
  await app.register(ofFastify.licensePlugin, { verifier: verifier(), exempt: ["/healthz"] });
  app.get("/healthz", async () => "ok");
  app.get("/hello", async (request) => request.license.organization.name);
  app.get("/exports", { preHandler: ofFastify.requireFeature("exports_enabled") }, async () => "");
  await app.listen({ port: 0, host: "127.0.0.1" });
  t.after(() => app.close());
  return app.server.address().port;
}

async function get(port, path, headers = {}) {
  const request = http.get({ port, path, headers, agent: false });
  const [response] = await once(request, "response");
  const chunks = await response.toArray();
  const text = Buffer.concat(chunks).toString();
  const isProblem = response.headers["content-type"]?.startsWith("application/problem+json");
  return { status: response.statusCode, text, code: isProblem ? JSON.parse(text).code : null };
}

for (const [name, start] of [["express", withExpress], ["fastify", withFastify]]) {
  test(`request of ${name} needs a token`, async (t) => {
    const port = await start(t);
    const headers = { "X-License-Token": token };
    assert.deepEqual(await get(port, "/hello", headers), { status: 200, text: "Acme GmbH", code: null });
    assert.equal((await get(port, "/healthz")).text, "ok");
    const missing = await get(port, "/hello");
    assert.deepEqual([missing.status, missing.code], [401, "token_missing"]);
    const twice = await get(port, "/hello", { "X-License-Token": [token, token] });
    assert.equal(twice.code, "token_malformed");
    const refused = await get(port, "/exports", headers);
    assert.deepEqual([refused.status, refused.code], [403, "feature_not_included"]);
    process.env.LICENSE_TOKEN = `${token}\n`;
    t.after(() => delete process.env.LICENSE_TOKEN);
    assert.equal((await get(port, "/hello")).status, 200);
  });
}
