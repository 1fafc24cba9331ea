// Builds the native module with Cargo, and copies it beside this file.
"use strict";

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const manifest = path.join(__dirname, "Cargo.toml");
const options = { stdio: ["ignore", "pipe", "inherit"], encoding: "utf8", maxBuffer: 1 << 28 };
const built = spawnSync(
  "cargo",
  ["build", "--release", "--locked", "--manifest-path", manifest, "--message-format", "json-render-diagnostics"],
  options,
);
if (built.error) {
  console.error(`dp-verifier needs Rust to build its native module: ${built.error.message}`);
  process.exit(1);
}
if (built.status !== 0) process.exit(built.status ?? 1);
const messages = built.stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
const artifact = messages.find(
  ({ reason, target }) => reason === "compiler-artifact" && target.name === "dp_verifier_node",
);
const library = artifact.filenames.find((name) => /\.(so|dylib|dll)$/.test(name));
// A copy under another name, then a rename: a running process keeps the module that it has loaded.
const module_ = path.join(__dirname, "dp_verifier.node");
fs.copyFileSync(library, `${module_}.new`);
fs.renameSync(`${module_}.new`, module_);
