"""Generates the Pydantic models and the TypeScript types of the contract from its JSON Schemas.

`generate.py` writes `contract.py` and `contract.d.ts`; `generate.py --check` fails if one is not current.
The generators are datamodel-code-generator, beside this Python, and json-schema-to-typescript, in
`bindings/node/node_modules`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "cp-contracts" / "schemas"
NODE = ROOT / "bindings" / "node"
PYTHON = ROOT / "bindings" / "python" / "python" / "dp_verifier"
NOTE = "Generated from cp-contracts/schemas by bindings/contract/generate.py."


def plain(text: str) -> str:
    """Returns a description without the links of Rust's documentation."""
    text = re.sub(r"\[`([^`\]]+)`\]\([^)]*\)", r"`\1`", text)
    text = re.sub(r"\[([^\]]+)\]\((?:crate|Self|super)[^)]*\)", r"\1", text)
    return re.sub(r"\[`([^`\]]+)`\]", r"`\1`", text)


def cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        members = {name: cleaned(member) for name, member in value.items()}
        if isinstance(members.get("description"), str):
            members["description"] = plain(members["description"])
        return members
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def merged() -> dict[str, Any]:
    """Returns one schema with the definitions of all."""
    types: dict[str, Any] = {}
    for file in sorted(SCHEMAS.glob("*.json")):
        schema = cleaned(json.loads(file.read_text()))
        nested = schema.pop("$defs", {})
        name = schema.pop("title")
        schema.pop("$schema")
        for other, definition in [*nested.items(), (name, schema)]:
            if other in types and types[other] != definition:
                raise SystemExit(f"{file.name}: {other} differs from that of another schema")
            types[other] = definition
    ordered = {name: types[name] for name in sorted(types)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": ordered}


def python(schema: Path) -> str:
    """Returns the Pydantic models."""
    output = schema.with_name("contract.py")
    generator = Path(sys.executable).with_name("datamodel-codegen")
    options = [
        "--input-file-type=jsonschema",
        "--output-model-type=pydantic_v2.BaseModel",
        "--target-python-version=3.10",
        "--use-standard-collections",
        "--use-union-operator",
        "--use-schema-description",
        "--use-field-description",
        "--collapse-root-models",
        "--use-annotated",
        "--extra-fields=allow",
        "--disable-timestamp",
        "--custom-file-header",
        f'"""Pydantic models of the contract. {NOTE}"""',
    ]
    command = [generator, "--input", schema, "--output", output, *options]
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run(command, check=True, cwd=schema.parent, env=quiet)
    text = output.read_text()
    # The schema that only carries the definitions is no model.
    text = re.sub(r"\n\nclass Model\(.*?(?=\n\n\nclass |\Z)", "", text, flags=re.S)
    return re.sub(r"\n{4,}", "\n\n\n", text)


TYPESCRIPT = """
const { compile } = require("json-schema-to-typescript");
const schema = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
const options = { bannerComment: process.argv[2], unreachableDefinitions: true, format: true };
compile({ ...schema, title: "Contract", type: "object" }, "Contract", options).then((text) => {
  process.stdout.write(text);
});
"""


def typescript(schema: Path) -> str:
    """Returns the TypeScript types."""
    banner = f"// The types of the contract. {NOTE}"
    command = ["node", "-e", TYPESCRIPT, str(schema), banner]
    done = subprocess.run(command, check=True, cwd=NODE, stdout=subprocess.PIPE, text=True)
    # The schema that only carries the definitions is no type.
    text = re.sub(r"export interface Contract \{.*?\n\}\n", "", done.stdout, flags=re.S)
    text = re.sub(r"( \*\n)? \* This interface was referenced by .*\n \* via the .*\n", "", text)
    return re.sub(r"/\*\*\n \*/\n", "", text)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder) / "contract.json"
        schema.write_text(json.dumps(merged(), indent=2))
        current = {PYTHON / "contract.py": python(schema), NODE / "contract.d.ts": typescript(schema)}
    for file, text in current.items():
        if "--check" in sys.argv[1:]:
            if not file.exists() or file.read_text() != text:
                raise SystemExit(f"{file.relative_to(ROOT)} is not current: run bindings/run contract")
        else:
            file.write_text(text)


if __name__ == "__main__":
    main()
