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

// Returns the URL of a control plane, which ends with the test.
async function controlPlane(t) {
  const server = spawn("python3", [path.join(root, "bindings/tests/control_plane.py")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => server.stdin.end());
  const [url] = await once(createInterface(server.stdout), "line");
  // A failed test must not wait for the server, which ends with this process at the latest.
  for (const handle of [server, server.stdin, server.stdout]) handle.unref();
  return url;
}

module.exports = { controlPlane, genuine, suite, temporaryFolder, token, verifier };
