"""Reads the status list with the draft, PyJWT and zlib alone."""

import base64
import json
import sys
import urllib.request
import zlib

import jwt

from authority import Authority

url, bundle_file = sys.argv[1:]
cp = Authority(url)
with open(bundle_file) as file:
    bundle = json.load(file)
entry = bundle["payload"]["status"]["status_list"]
# The issuer's name is not where this server listens.
path = entry["uri"].removeprefix("http://127.0.0.1:8801")
keys = jwt.PyJWKClient(url + "/.well-known/jwks.json")


def status():
    request = urllib.request.Request(
        url + path, headers={"Accept": "application/statuslist+jwt"}
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.headers["Content-Type"] == "application/statuslist+jwt"
        token = answer.read().decode()
    assert jwt.get_unverified_header(token)["typ"] == "statuslist+jwt"
    claims = jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["RS256"],
        # Lists of changes within one second are dated a second apart, at most 30 seconds ahead.
        leeway=60,
        options={"require": ["exp", "iat", "sub"]},
    )
    assert claims["sub"] == entry["uri"] and claims["ttl"] == 300
    assert claims["status_list"]["bits"] == 2
    packed = claims["status_list"]["lst"]
    octets = zlib.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    assert len(octets) == 65_536 // 4
    return octets[entry["idx"] // 4] >> (entry["idx"] % 4 * 2) & 3


license = f"/licenses/{bundle['license_id']}"
assert status() == 0
cp.post(license + "/suspend", {"reason": "unpaid"})
assert status() == 2
cp.post(license + "/reinstate", {})
assert status() == 0
cp.post(f"/bundles/{bundle['jti']}/revoke", {})
assert status() == 1
lists = cp.get("/status-lists")
assert lists == {"status_lists": [entry["uri"]]}, lists
print("PyJWT and zlib: the status list shows suspended, reinstated and revoked")
