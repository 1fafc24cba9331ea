"""The Python sample of docs/verify.md, beyond what the guide shows: what it refuses, and an outage."""

import os
import signal
import subprocess
import sys
import time

import jwt

import licensing

server_pid, license_id = int(sys.argv[1]), sys.argv[2]
clock = time.time


def server(*args):
    done = subprocess.run(["cp-server", *args], check=True, capture_output=True, text=True)
    return done.stdout


def issued(*args):
    token = server("license", "issue", license_id, *args)
    return token.split('"token": "')[1].split('"')[0]


def refusal(token):
    try:
        licensing.verify(token)
    except licensing.Refused as refused:
        return str(refused)
    raise AssertionError("it was not refused")


def later(seconds):
    licensing.time.time = lambda: clock() + seconds


token = issued()
license = licensing.verify(token)
assert license["limits"]["projects"] == 20 and license["limits"]["x_reports"] is None
assert "Audience" in refusal(issued("--audience", "another"))
head, body, signature = token.split(".")
assert "Signature" in refusal(f"{head}.{body}.{signature[:-8]}AAAAAAAA")
assert "no license+jwt" in refusal(licensing.fetched(jwt.decode(token, options={"verify_signature": False})["status"]["status_list"]["uri"]))
assert refusal("") and refusal("a.b.c")

# A copy is used for a minute, and then the suspension is there.
server("license", "suspend", license_id)
time.sleep(1.1)
assert licensing.verify(token)
later(61)
assert refusal(token) == "the license is suspended"
server("license", "reinstate", license_id)
time.sleep(1.1)
later(122)
assert licensing.verify(token)

# Out of reach: the copies stay in use, until the list is too old for a license that blocks then.
os.kill(server_pid, signal.SIGTERM)
while os.path.exists(f"/proc/{server_pid}"):
    time.sleep(0.1)
later(3600)
assert licensing.verify(token)
later(8 * 86_400)
assert licensing.verify(token), "on_stale is degrade"
print("the Python sample: refuses what it must, and outlives an outage")
