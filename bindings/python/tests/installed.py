"""Checks an installed wheel with nothing but Python. Not a test of pytest: the script `run` runs it."""

import importlib.metadata
import json
import shutil
from pathlib import Path

from dp_verifier import Verifier, VerifyError
from dp_verifier.asgi import LicenseMiddleware

assert shutil.which("cargo") is None, "the environment is not clean"
assert LicenseMiddleware.__doc__
files = [str(file) for file in importlib.metadata.files("dp-verifier")]
assert any(file.endswith("_native.pyi") for file in files), "the wheel has no types"
assert "dp_verifier/py.typed" in files, "the wheel does not say that it has types"
vectors = Path(__file__).resolve().parents[3] / "cp-contracts" / "vectors" / "forms.json"
suite = json.loads(vectors.read_text())["vectors"]
genuine = next(vector for vector in suite if vector["name"] == "genuine_token_is_admitted")
token = genuine["steps"][0]["token"]
verifier = Verifier(**genuine["settings"], fixed_time=genuine["now"])
assert verifier.verify(token).state == "valid"
try:
    verifier.verify(token + "=")
except VerifyError as refused:
    assert refused.code == "token_malformed"
else:
    raise AssertionError("a malformed token is admitted")
