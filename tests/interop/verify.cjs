// The token, against the live keys, as `jose` checks it.
const { readFileSync } = require("node:fs");

async function main([url, file]) {
  const { createRemoteJWKSet, jwtVerify } = await import(require.resolve("jose"));
  const bundle = JSON.parse(readFileSync(file, "utf8"));
  const keys = createRemoteJWKSet(new URL("/.well-known/jwks.json", url));
  const { payload, protectedHeader } = await jwtVerify(bundle.token, keys, {
    algorithms: ["RS256"],
    issuer: "http://127.0.0.1:8801",
    audience: "data-plane",
    typ: "license+jwt",
    requiredClaims: ["exp", "nbf", "iat", "sub", "jti"],
  });
  if (payload.jti !== bundle.jti || protectedHeader.kid !== bundle.key_id) {
    throw new Error("the token is not the bundle's");
  }
  console.log("jose: the token is verified");
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
