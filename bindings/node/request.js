// What the middlewares of Express and Fastify share.
"use strict";

const { LicenseError, VerifyError } = require("./index.js");

// Returns the token of a request: the header, else LICENSE_TOKEN, else the verifier's own.
function tokenOf(request, verifier) {
  const raw = request.rawHeaders ?? [];
  const sent = raw.filter((_, n) => n % 2 === 1 && raw[n - 1].toLowerCase() === "x-license-token");
  if (sent.length > 1) {
    const detail = "the request has several license tokens";
    throw new VerifyError({ code: "token_malformed", detail, http_status: 401 });
  }
  if (sent.length === 1) return sent[0].trim();
  return process.env.LICENSE_TOKEN?.trim() || verifier.currentToken || "";
}

// Checks a token. Waits for its first status list, on another thread and only if needed.
async function licenseOf(verifier, token) {
  try {
    const license = verifier.verify(token);
    if (license.state !== "stale") return license;
  } catch (refused) {
    if (!["status_stale", "proof_missing"].includes(refused.code)) throw refused;
  }
  await verifier.waitForStatus(token);
  return verifier.verify(token);
}

module.exports = { LicenseError, licenseOf, tokenOf };
