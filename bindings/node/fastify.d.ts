import type { FastifyPluginAsync, preHandlerAsyncHookHandler } from "fastify";
import type { LicenseContext, Verifier } from "./index";

declare module "fastify" {
  interface FastifyRequest {
    /** The license of the request, after `licensePlugin`. */
    license: LicenseContext;
  }
}

/** Refuses requests without a valid license, and sets `request.license`. */
export const licensePlugin: FastifyPluginAsync<{
  verifier: Verifier;
  /** Routes that need no license. */
  exempt?: string[];
}>;
/** Refuses requests whose license does not enable a feature, as a `preHandler`. */
export function requireFeature(name: string): preHandlerAsyncHookHandler;
