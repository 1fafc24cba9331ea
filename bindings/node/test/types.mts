// Code that must compile: `npm run types`.
import express from "express";
import fastify from "fastify";
import { type LicenseContext, Verifier, VerifyError, stateRecord } from "dp-verifier";
import type { DeploymentLicenseClaims } from "dp-verifier/contract";
import { requireFeature, requireLicense } from "dp-verifier/express";
import { licensePlugin } from "dp-verifier/fastify";

const verifier: Verifier = await Verifier.create({ issuer: "x", audience: "y", jwksUrl: "z" });

function check(token: string): LicenseContext | string {
  try {
    return verifier.verify(token);
  } catch (error) {
    if (error instanceof VerifyError) return error.code;
    throw error;
  }
}

const license = check("a.b.c");
if (typeof license !== "string") {
  const claims: DeploymentLicenseClaims = license.claims;
  const ends: Date = license.expiresAt;
  const slug: string | null | undefined = license.organization.slug;
  license.limit("projects").allowsAnother(claims.license.seat_cap);
  // @ts-expect-error A state that does not exist.
  license.requireState("fine");
  console.log(ends, slug);
}

const app = express();
app.use(requireLicense(verifier));
app.get("/", requireFeature("exports_enabled"), (request, response) => {
  response.send(request.license.state);
});
const server = fastify();
await server.register(licensePlugin, { verifier, exempt: ["/healthz"] });
server.get("/", async (request) => request.license.seatCap);

const seat = await verifier.leases("cpat_…").acquire("render", { machineId: true }, { ttl: 60 });
await seat.release();
const reasons: string[] = verifier.readiness().reasons;
const former: string | undefined = (await stateRecord("state.json")).former[0]?.because;
console.log(reasons, former, (await seat.lost()) === "released", verifier.leases({ licenseKey: "K" }));
// @ts-expect-error A setting that does not exist.
new Verifier({ issuer: "x", audience: "y", isuer: "z" });
