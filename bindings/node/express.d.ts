import type { RequestHandler } from "express";
import type { LicenseContext, Verifier } from "./index";

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Express {
    interface Request {
      /** The license of the request, after `requireLicense`. */
      license: LicenseContext;
    }
  }
}

/** Refuses requests without a valid license, and sets `request.license`. */
export function requireLicense(verifier: Verifier): RequestHandler;
/** Refuses requests whose license does not enable a feature. */
export function requireFeature(name: string): RequestHandler;
