// Signs in with a link, walks through the pages, and makes a customer with forms: at two widths, in two
// themes, with and without scripts. After each page: axe without violations, no message of the browser,
// no report of the content security policy, no sideways scroll and no shift of the layout. The first paint and
// the longest task of all pages are printed: on a busy machine they measure the machine. The main pages are
// passed through by Tab, where each stop has a visible ring, and printed, where nothing is cut.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const base = process.argv[2];
const links = process.env.CONSOLE_LINKS.trim().split(/\s+/);
const screens = process.env.CONSOLE_SCREENS;
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const flags = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium", headless: true, args: flags,
});
const findings = [];
const paints = [];
let longest = 0;
mkdirSync(screens, { recursive: true });

async function walk(link, { width, theme, script }) {
  const label = `${width}-${theme}${script ? "" : "-plain"}`;
  const context = await browser.newContext({
    viewport: { width, height: 900 }, colorScheme: theme, javaScriptEnabled: script,
  });
  const page = await context.newPage();
  let here = "";
  const note = (what) => findings.push(`${label} ${here}: ${what}`);
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !/status of 4\d\d/.test(message.text())) note(message.text());
  });
  page.on("pageerror", (error) => note(error.message));
  page.on("requestfailed", (request) => note(`request failed: ${request.url()}`));
  page.on("response", (response) => {
    if (response.status() >= 500) note(`${response.status()} ${response.url()}`);
  });

  // The policy of the pages does not admit a script of the test. The browser's own protocol does.
  const session = await context.newCDPSession(page);
  const world = async () => {
    const { frameTree } = await session.send("Page.getFrameTree");
    const frameId = frameTree.frame.id;
    const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId });
    return async (expression) => {
      const asked = { expression, contextId: executionContextId, awaitPromise: true, returnByValue: true };
      const done = await session.send("Runtime.evaluate", asked);
      if (done.exceptionDetails) throw new Error(done.exceptionDetails.exception?.description);
      return done.result.value;
    };
  };
  const check = async (name) => {
    here = name;
    const evaluate = await world();
    const overflow = await evaluate("document.documentElement.scrollWidth - innerWidth");
    if (overflow > 0) note(`scrolls sideways by ${overflow} px`);
    if (script) {
      // Before axe, which is a long task itself.
      const { paint, shift, task } = JSON.parse(await evaluate(`new Promise((done) => {
        const found = { paint: null, shift: 0, task: 0 };
        const watch = (type, each) => new PerformanceObserver((list) => list.getEntries().forEach(each))
          .observe({ type, buffered: true });
        watch("paint", (one) => { if (one.name === "first-contentful-paint") found.paint = one.startTime; });
        watch("layout-shift", (one) => { if (!one.hadRecentInput) found.shift += one.value; });
        watch("longtask", (one) => { found.task = Math.max(found.task, one.duration); });
        setTimeout(() => done(JSON.stringify(found)), 30);
      })`));
      // In three decimals: a streamed page may be painted between two of its rows.
      if (shift >= 0.0005) note(`the layout shifts by ${shift}`);
      if (paint !== null) paints.push(paint);
      longest = Math.max(longest, task);
      await evaluate(axe);
      const found = JSON.parse(await evaluate(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a",
        "wcag21aa", "wcag22aa", "best-practice"] }).then((done) => JSON.stringify(done.violations.map((one) =>
        one.id + ": " + one.help + " " + one.nodes.slice(0, 3).map((node) => node.target + " " +
        node.failureSummary).join(" | "))))`));
      found.forEach(note);
    }
    await page.screenshot({ path: `${screens}/${name}-${label}.png`, fullPage: true });
  };
  // Passes through the page by Tab: each stop is in view, and its ring is not cut by what surrounds it.
  const tab = async (name) => {
    here = `${name}, by Tab`;
    const evaluate = await world();
    for (let n = 0; n < 200; n += 1) {
      await page.keyboard.press("Tab");
      const stop = await evaluate(`(() => {
        const one = document.activeElement;
        if (!one || one === document.body) return "";
        const style = getComputedStyle(one);
        const box = one.getBoundingClientRect();
        const reach = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
        const problems = [];
        if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) problems.push("no ring");
        if (!box.width || !box.height || box.bottom < 0 || box.top > innerHeight) problems.push("out of view");
        for (let above = one.parentElement; above && above !== document.body; above = above.parentElement) {
          if (getComputedStyle(above).overflow === "visible") continue;
          const edge = above.getBoundingClientRect();
          const cut = [edge.left > box.left - reach, edge.right < box.right + reach, edge.top > box.top - reach,
            edge.bottom < box.bottom + reach].filter(Boolean).length;
          if (cut > 1) problems.push("the ring is cut by " + above.className);
        }
        const name = one.getAttribute("aria-label") || one.textContent.trim() || one.name;
        return JSON.stringify({ name: one.tagName + " " + name.slice(0, 40), problems });
      })()`);
      if (!stop) return;
      const { name: stopped, problems } = JSON.parse(stop);
      problems.forEach((problem) => note(`${stopped}: ${problem}`));
    }
    note("Tab does not leave the page");
  };
  // Prints the page: without navigation, and without cut text.
  const print = async (name) => {
    here = `${name}, printed`;
    await page.emulateMedia({ media: "print" });
    await page.setViewportSize({ width: 718, height: 1000 });
    const evaluate = await world();
    const found = JSON.parse(await evaluate(`(() => {
      const problems = [];
      for (const one of document.querySelectorAll("nav, .rail, .bar, .actions, .btn, .copy")) {
        if (one.checkVisibility()) problems.push(one.className + " is printed");
      }
      for (const one of document.querySelectorAll("main *")) {
        const isCut = one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible";
        if (isCut && one.clientWidth && !one.classList.contains("sr")) problems.push(one.tagName + " " + one.className + " is cut");
      }
      const over = document.documentElement.scrollWidth - innerWidth;
      if (over > 0) problems.push("the page is cut by " + over + " px");
      return JSON.stringify(problems);
    })()`));
    found.forEach(note);
    await page.pdf({ path: `${screens}/${name}-${label}.pdf`, format: "A4", printBackground: true,
      margin: { top: "12mm", bottom: "12mm", left: "10mm", right: "10mm" } });
    await page.emulateMedia({ media: null });
    await page.setViewportSize({ width, height: 900 });
  };
  const go = async (path, name) => {
    here = name;
    const response = await page.goto(base + path);
    if (response.status() >= 400) note(`status ${response.status()} of ${path}`);
    await check(name);
  };
  const press = (name) => page.getByRole("button", { name, exact: true }).first().click();
  const follow = (name) => page.locator("main").getByRole("link", { name, exact: true }).first().click();
  const fill = (name, value) => page.locator("main").getByLabel(name).first().fill(value);

  await go(new URL(link).pathname + new URL(link).search, "enter");
  await press("Sign in");
  await page.waitForURL(`${base}/console`);
  await check("overview");

  // A customer in five steps.
  await follow("Set up a customer");
  await check("setup");
  const steps = [
    ["organization", { Name: `Setup ${label}` }], ["subscription", {}], ["deployment", { Name: "production" }],
    ["license", {}],
  ];
  for (const [noun, entries] of steps) {
    for (const [name, value] of Object.entries(entries)) await fill(name, value);
    if (noun === "subscription") await page.getByLabel("Plan code").first().fill("team");
    await page.getByRole("button", { name: `Create the ${noun}` }).last().click();
    await check(`setup-after-${noun}`);
  }
  await page.getByRole("button", { name: "Issue a token" }).last().click();
  await check("setup-token");
  const token = await page.locator("output#token").textContent();
  await go("/console/inspect", "inspect");
  await fill("License token or license file", token);
  await press("Inspect");
  if (!(await page.getByText("A data plane accepts this token now").count())) note("the token is not accepted");
  await check("inspected");
  await fill("License token or license file", `${token.slice(0, -8)}AAAAAAAA`);
  await press("Inspect");
  await check("inspected-refused");

  await go("/console/organizations", "organizations");
  await follow("New organization");
  await check("organization-new");
  await page.locator("main").getByRole("button", { name: "Create the organization" }).last().click();
  await check("organization-refused");
  if (!(await page.getByRole("alert").count())) note("a refused form has no alert");
  const title = `Northwind ${label}`;
  await fill("Name", title);
  await page.getByRole("button", { name: "Create the organization" }).last().click();
  if (!(await page.getByRole("heading", { level: 1, name: title }).count())) note("the new organization has no page");
  await check("organization");
  const organization = new URL(page.url()).pathname;

  await go(`${organization}/limits?new`, "limit-new");
  await fill("Metric", "renders");
  await fill("Quantity", "1000");
  await page.getByRole("button", { name: "Create the limit" }).last().click();
  await check("limit");
  const parts = [
    "licenses", "deployments", "memberships", "quotas", "entitlements", "audit", "workspaces", "roles", "limits",
    "effective", "service-tokens", "service-tokens?new", "webhooks", "budgets", "invitations?new", "suspend",
    "console-links",
  ];
  for (const part of parts) {
    await go(`${organization}/${part}`, part.replace("?", "-"));
  }
  await go(`${organization}/subscriptions?new`, "subscription-new");
  await fill("Plan code", "team");
  await page.getByRole("button", { name: "Create the subscription" }).last().click();
  await check("subscription");
  await go(`${organization}/deployments?new`, "deployment-new");
  await fill("Name", "production");
  await page.getByRole("button", { name: "Create the deployment" }).last().click();
  await check("deployment");
  await page.goto(`${base}${new URL(page.url()).pathname}/licenses`);
  await check("license-new");
  await page.getByRole("button", { name: "Create the license" }).last().click();
  await check("license-without-token");
  const license = new URL(page.url()).pathname;
  await follow("Issue a token");
  await check("token-new");
  await page.getByRole("button", { name: "Issue the token" }).last().click();
  if (!(await page.getByText("It is shown this once").count())) note("the token is not shown");
  await check("token-issued");
  // Several licenses at once: the outcome arrives row by row.
  await go(`${organization}/licenses`, "licenses");
  await page.locator("main").getByRole("checkbox").first().check();
  await press("Issue…");
  await check("bulk");
  await press("Issue tokens for 1 license");
  if (!(await page.getByRole("status").getByText("1 done").count())) note("the change of several is not done");
  await check("bulk-done");
  await go(license, "license");
  if (script) {
    await tab("license");
    await print("license");
  }
  await follow("Suspend…");
  await check("suspend");
  await page.getByRole("button", { name: "Suspend the license" }).last().click();
  await check("suspend-refused");
  await fill("Reason", "The invoice is open.");
  await page.getByRole("button", { name: "Suspend the license" }).last().click();
  await check("license-suspended");
  await go(`${license}/leases`, "seats");
  await go(`${license}/leases?new`, "seat-new");
  await go(`${license}?edit`, "license-edit");
  await go(`${license}/revoke`, "license-revoke");

  for (const [path, title] of [
    ["/plans", "plans"], ["/plans/team", "plan"], ["/plans/team/migrate", "plan-migrate"], ["/signing/keys", "keys"],
    ["/audit", "audit-log"], ["/service-tokens", "service-tokens"], ["/service-tokens?new", "service-token-new"],
    ["/users", "users"], ["/webhooks", "webhooks"], ["/events", "events"], ["/all", "everything"], ["/me", "me"],
    ["/search?q=zzz", "search"], ["/kit", "kit"],
  ]) {
    await go(`/console${path}`, title);
  }
  if (script) {
    // By keyboard alone: the skip link, the search field, and a thing by its name.
    here = "keyboard";
    await page.goto(`${base}/console`);
    await page.keyboard.press("Tab");
    const focused = await (await world())("document.activeElement.className");
    if (focused !== "skip") note(`the first stop is ${focused}, not the skip link`);
    await page.keyboard.press("/");
    await page.keyboard.type(title);
    await page.keyboard.press("Enter");
    await page.waitForURL((url) => url.pathname === organization);
    await check("found-by-keyboard");
    await tab("organization");
    for (const [path, title] of [
      ["", "overview"], ["/organizations", "organizations"], ["/organizations?new", "organization-new"],
      ["/audit", "audit-log"], ["/plans/team", "plan"], ["/inspect", "inspect"], ["/kit", "kit"],
    ]) {
      await page.goto(`${base}/console${path}`);
      await tab(title);
    }
    await page.goto(`${base}/console/audit`);
    await print("audit-log");
    // Long names stay inside their cards.
    await page.goto(`${base}/console/organizations?new`);
    await fill("Name", `${"W".repeat(120)} ${"مؤسسة ".repeat(10)}🙂 ${label}`);
    await fill("Slug", `long-${label}`);
    await page.getByRole("button", { name: "Create the organization" }).last().click();
    await check("organization-long");
    await go("/console/organizations", "organizations-long");
  }
  here = "missing";
  await page.goto(`${base}/console/licenses/01900000-0000-7000-8000-000000000000`);
  await check("missing");
  if (width < 821) await page.getByLabel("Menu").click();
  await page.goto(`${base}/console/me`);
  await page.getByLabel(/: you, /).click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await check("signed-out");
  await page.goto(`${base}/console`);
  await check("sign-in");
  await context.close();
}

const ways = [
  { width: 1280, theme: "light", script: true },
  { width: 390, theme: "dark", script: true },
  { width: 1280, theme: "dark", script: false },
  { width: 390, theme: "light", script: false },
];
for (const [n, way] of ways.entries()) {
  try {
    await walk(links[n], way);
  } catch (error) {
    findings.push(`${JSON.stringify(way)}: ${error.message}`);
  }
}
await browser.close();
if (findings.length) {
  console.error(findings.join("\n"));
  process.exit(1);
}
paints.sort((one, other) => one - other);
const median = paints[Math.floor(paints.length / 2)];
console.log(`${paints.length} pages: first contentful paint ${median} ms (median), ${paints.at(-1)} ms at most;`,
  `longest task ${longest} ms; no shift of the layout`);
console.log(`${ways.length} walks without a finding`);
