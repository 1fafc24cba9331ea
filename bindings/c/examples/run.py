"""Runs the C example with a genuine token of the vectors: run.py PROGRAM LIBRARIES."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[3] / "cp-contracts" / "vectors" / "forms.json"
vectors = json.loads(VECTORS.read_text())["vectors"]
genuine = next(vector for vector in vectors if vector["name"] == "genuine_token_is_admitted")
token = genuine["steps"][0]["token"]

with tempfile.NamedTemporaryFile("w", suffix=".json") as settings:
    json.dump(genuine["settings"] | {"fixed_time": genuine["now"]}, settings)
    settings.flush()
    environment = os.environ | {"LD_LIBRARY_PATH": sys.argv[2]}
    command = [sys.argv[1], settings.name, token, f"{token}="]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    first, license, refused = done.stdout.splitlines()
    assert first == "valid: alerts on, workspaces at most 10", first
    assert json.loads(license)["organization"]["slug"] == "acme", license
    code, failure = refused.split(": ", 1)
    assert code == json.loads(failure)["code"] == "token_malformed", refused
    assert done.returncode == 1, done.returncode
    unusable = subprocess.run([sys.argv[1], os.devnull], env=environment, stderr=subprocess.PIPE)
    assert unusable.returncode == 2 and b"argument_invalid" in unusable.stderr, unusable
