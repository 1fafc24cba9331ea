// The genuine token of the vectors, and a control plane on loopback.
"use strict";

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { createInterface } = require("node:readline");
const { Verifier } = require("..");

const root = path.join(__dirname, "../../..");
const folder = path.join(root, "cp-contracts/vectors");

function suite() {
  const files = fs.readdirSync(folder).filter((name) => name.endsWith(".json")).sort();
  return files.flatMap((name) => {
    const content = JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
    if (content.format !== 1) throw new Error(`${name} has another format`);
    return content.vectors;
  });
}

const genuine = suite().find(({ name }) => name === "genuine_token_is_admitted");
const token = genuine.steps[0].token;
const verifier = () => new Verifier({ ...genuine.settings, fixedTime: genuine.now });

// Returns a new folder, which ends with this process. Threads of a verifier may write into it until then.
function temporaryFolder() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "dp-verifier-"));
  process.once("exit", () => {
    try {
      fs.rmSync(folder, { recursive: true, maxRetries: 5 });
    } catch {
      // A thread wrote a file at the same time. The system removes the folder later.
    }
  });
  return folder;
}

// Returns a control plane, which ends with the test: its URL, and a function that makes later answers late.
async function lateControlPlane(t) {
  const server = spawn("python3", [path.join(root, "bindings/tests/control_plane.py")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => server.stdin.end());
  const lines = createInterface(server.stdout);
  const [url] = await once(lines, "line");
  // A failed test must not wait for the server, which ends with this process at the latest.
  for (const handle of [server, server.stdin, server.stdout]) handle.unref();
  const answerLate = async (seconds) => {
    server.stdout.ref();
    server.stdin.write(`${seconds}\n`);
    await once(lines, "line");
    server.stdout.unref();
  };
  return { answerLate, url };
}

const controlPlane = async (t) => (await lateControlPlane(t)).url;

// Returns the settings of a verifier with keys and check-ins from a control plane.
function settingsAt(url) {
  const { jwks, ...settings } = genuine.settings;
  const deployment = `${url}/api/v1/deployments/018f2a00-0000-7000-8000-000000000003`;
  const checkIn = { url: `${deployment}/check-in`, credential: "cpat_token" };
  return { ...settings, fixedTime: genuine.now, jwksUrl: `${url}/jwks.json`, checkIn };
}

module.exports = {
  controlPlane,
  genuine,
  lateControlPlane,
  settingsAt,
  suite,
  temporaryFolder,
  token,
  verifier,
};
