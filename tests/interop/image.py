"""Unpacks the image of an OCI archive: `image.py ARCHIVE FOLDER`. Prints the variables that it sets."""

import io
import json
import sys
import tarfile
from pathlib import Path

archive, folder = tarfile.open(sys.argv[1]), Path(sys.argv[2])


def blob(descriptor):
    return archive.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()


def document(descriptor):
    return json.loads(blob(descriptor))


(manifest,) = json.load(archive.extractfile("index.json"))["manifests"]
manifest = document(manifest)
folder.mkdir()
for layer in manifest["layers"]:
    with tarfile.open(fileobj=io.BytesIO(blob(layer))) as files:
        files.extractall(folder, numeric_owner=True)
config = document(manifest["config"])["config"]
assert config["User"] == "65534:65534" and list(config["Volumes"]) == ["/data"], config
assert config["Entrypoint"] == ["/usr/local/bin/cp-server"] and config["Cmd"] == ["serve"], config
owner = (folder / "data").stat()
assert (owner.st_uid, owner.st_gid) == (65534, 65534), owner
print("\n".join(name for name in config["Env"] if name.startswith("CP_")))
