// Middlewares for Express: `request.license`, and problem documents (RFC 9457) for refusals.
"use strict";

const { LicenseError, licenseOf, tokenOf } = require("./request.js");

function refuse(response, next, error) {
  if (!(error instanceof LicenseError)) return next(error);
  const body = JSON.stringify(error.problem());
  response.status(error.httpStatus).type("application/problem+json").send(body);
}

function requireLicense(verifier) {
  return async (request, response, next) => {
    try {
      request.license = await licenseOf(verifier, tokenOf(request, verifier));
    } catch (error) {
      return refuse(response, next, error);
    }
    next();
  };
}

function requireFeature(name) {
  return (request, response, next) => {
    try {
      request.license.requireFeature(name);
    } catch (error) {
      return refuse(response, next, error);
    }
    next();
  };
}

module.exports = { requireFeature, requireLicense };
