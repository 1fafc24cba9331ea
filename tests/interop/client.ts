// Uses the types that openapi-typescript generated: `clients` type-checks and runs this file.

import createClient from "openapi-fetch";
import type { paths } from "./authority.js";

declare const process: { argv: string[]; env: Record<string, string | undefined> };

const client = createClient<paths>({
  baseUrl: process.argv[2],
  headers: { Authorization: `Bearer ${process.env.CP_BOOTSTRAP_TOKEN}` },
});

function expect(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const { data: page } = await client.GET("/api/v1/plans", { params: { query: { limit: 100 } } });
expect(page !== undefined && page.items.some((plan) => plan.code === "team"), "no plan `team`");

// Without --default-non-nullable=false, members with a default would be required here.
const made = await client.POST("/api/v1/organizations", { body: { name: "Generated in TypeScript" } });
expect(made.data?.slug === "generated-in-typescript", JSON.stringify(made.error));

const { error } = await client.GET("/api/v1/plans/{code}", { params: { path: { code: "missing" } } });
expect(error?.code === "not_found", "no refusal");
console.log("the generated TypeScript client: reads, creates and reads a refusal");
