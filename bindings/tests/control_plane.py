"""A control plane on loopback for the tests of the bindings.

It serves the key set and the genuine token of the conformance vectors, check-ins and two seats. It refuses
claims of a pool `refuse-CODE` with that code. The first line of its output is its URL. A line on its
standard input is the time by which later answers are late, in seconds. It ends with its standard input.
"""

import base64
import json
import sys
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VECTORS = Path(__file__).resolve().parents[2] / "cp-contracts" / "vectors"
vectors = json.loads((VECTORS / "forms.json").read_text())["vectors"]
genuine = next(vector for vector in vectors if vector["name"] == "genuine_token_is_admitted")
NOW = genuine["now"]
TTL = 300
late = 0.0
leases: dict[str, dict] = {}
lock = threading.Lock()


def rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_in() -> dict:
    token = genuine["steps"][0]["token"]
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    bundle = {
        "license_id": claims["license"]["license_id"],
        "jti": claims["jti"],
        "token": token,
        "key_id": "key-1",
        "algorithm": "RS256",
        "issued_at": rfc3339(claims["iat"]),
        "expires_at": rfc3339(claims["exp"]),
        "payload": claims,
        "bundle_hash": "0",
    }
    times = {
        "next_check_in_at": rfc3339(NOW + 3_600),
        "not_before": rfc3339(NOW),
        "server_time": rfc3339(NOW),
    }
    return {"code": "valid", "bundle": bundle, **times}


def acquire(license_id: str, body: dict) -> tuple[int, dict]:
    if body["pool"].startswith("refuse-"):
        return problem(body["pool"].removeprefix("refuse-"), 409)
    if len(leases) == 2:
        return problem("seats_exhausted", 409)
    lease = {
        "id": f"018f2a00-0000-7000-8000-{len(leases):012}",
        "license_id": license_id,
        "deployment_id": "018f2a00-0000-7000-8000-000000000003",
        "pool": body["pool"],
        "kind": "floating",
        "seat": len(leases) + 1,
        "holder": {"kind": "id", "user_id": None, "hash": "hash"},
        "label": body.get("label"),
        "meta": {},
        "state": "live",
        "acquired_at": rfc3339(NOW),
        "heartbeat_at": rfc3339(NOW),
        "expires_at": rfc3339(NOW + TTL),
        "next_at": rfc3339(NOW + TTL // 2),
        "not_before": rfc3339(NOW + TTL // 6),
        "borrowed_until": None,
        "overage": False,
        "ended_at": None,
        "end": None,
    }
    leases[lease["id"]] = lease
    return 201, lease


def problem(code: str, status: int) -> tuple[int, dict]:
    detail = "The test wants it."
    return status, {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: object = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        time.sleep(late)
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        if self.path == "/jwks.json":
            self.answer(200, genuine["settings"]["jwks"])
        elif self.path == "/leases":
            self.answer(200, list(leases.values()))
        else:
            self.answer(*problem("not_found", 404))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        with lock:
            if self.path.endswith("/check-in"):
                answer = 200, check_in()
            elif self.path.endswith("/leases"):
                answer = acquire(self.path.split("/")[4], body)
            elif self.path.endswith("/borrow"):
                lease = leases[self.path.split("/")[4]]
                until = rfc3339(NOW + body["seconds"])
                answer = 200, lease | {"borrowed_until": until, "expires_at": until, "token": "lease-token"}
            else:
                answer = problem("not_found", 404)
        self.answer(*answer)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        lease = leases.get(self.path.split("/")[4])
        self.answer(*((200, lease) if lease else problem("lease_over", 409)))

    def do_DELETE(self) -> None:
        self.answer(204)
        with lock:
            leases.pop(self.path.split("?")[0].split("/")[4], None)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    for line in sys.stdin:
        late = float(line)
        print(late, flush=True)
