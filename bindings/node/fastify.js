// A plugin for Fastify: `request.license`, and problem documents (RFC 9457) for refusals.
"use strict";

const { LicenseError, licenseOf, tokenOf } = require("./request.js");

function refuse(reply, error) {
  if (!(error instanceof LicenseError)) throw error;
  const body = JSON.stringify(error.problem());
  return reply.code(error.httpStatus).type("application/problem+json").send(body);
}

async function licensePlugin(fastify, { verifier, exempt = [] }) {
  const open = new Set(exempt);
  fastify.decorateRequest("license", null);
  fastify.addHook("onRequest", async (request, reply) => {
    if (open.has(request.routeOptions.url)) return;
    try {
      request.license = await licenseOf(verifier, tokenOf(request.raw, verifier));
    } catch (error) {
      return refuse(reply, error);
    }
  });
}

// The hook applies to the routes of the instance that registers the plugin, not only to the plugin's.
licensePlugin[Symbol.for("skip-override")] = true;
licensePlugin[Symbol.for("fastify.display-name")] = "dp-verifier";

function requireFeature(name) {
  return async (request, reply) => {
    try {
      request.license.requireFeature(name);
    } catch (error) {
      return refuse(reply, error);
    }
  };
}

module.exports = { licensePlugin, requireFeature };
