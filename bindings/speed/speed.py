"""Compares the checks of a token with those of PyJWT and jose, in turns in one run: speed.py NODE.

The peers check signature, issuer, audience and times; the verifier runs all its checks. Each ratio is the
median of the ratios within a round, so a slower moment of the machine changes little.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jwt

from dp_verifier import Verifier

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[1] / "cp-contracts" / "vectors" / "forms.json"
ROUNDS = 15
GOALS = {
    "Python, uncached, to PyJWT": 3.0,
    "Python, cached, to PyJWT": 50.0,
    "Node, uncached, to jose": 1.5,
}

vectors = json.loads(VECTORS.read_text())["vectors"]
genuine = next(vector for vector in vectors if vector["name"] == "genuine_token_is_admitted")
settings, token, now = genuine["settings"], genuine["steps"][0]["token"], genuine["now"]


def microseconds(check: Callable[[], object], times: int) -> float:
    check()
    begun = time.perf_counter()
    for _ in range(times):
        check()
    return (time.perf_counter() - begun) / times * 1e6


def python() -> dict[str, list[float]]:
    """Returns the times of each check, by round."""
    uncached = Verifier(**settings, fixed_time=now, cache=0)
    cached = Verifier(**settings, fixed_time=now)
    key = jwt.PyJWK(settings["jwks"]["keys"][0], "RS256").key
    # PyJWT has no clock of its own; a leeway over all years keeps its checks of the times.
    claims = {
        "issuer": settings["issuer"],
        "audience": settings["audience"],
        "leeway": 10**10,
        "options": {"require": ["exp", "nbf", "iat", "sub", "jti"]},
    }
    checks = {
        "uncached": (lambda: uncached.verify(token), 1_000),
        "cached": (lambda: cached.verify(token), 50_000),
        "peer": (lambda: jwt.decode(token, key, algorithms=["RS256"], **claims), 500),
    }
    found: dict[str, list[float]] = {name: [] for name in checks}
    for _ in range(ROUNDS):
        for name, (check, times) in checks.items():
            found[name].append(microseconds(check, times))
    return found


def node(program: str) -> dict[str, list[float]]:
    request = json.dumps({"settings": settings, "token": token, "now": now, "rounds": ROUNDS})
    command = [program, str(HERE / "speed.js")]
    done = subprocess.run(command, input=request, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    is_slow = False
    print("| check of one token | µs | times as fast | goal |\n| --- | ---: | ---: | ---: |")
    for language, peer, found in [("Python", "PyJWT", python()), ("Node", "jose", node(sys.argv[1]))]:
        for name in ("uncached", "cached"):
            row = f"{language}, {name}, to {peer}"
            ratios = [ours_peer[1] / ours_peer[0] for ours_peer in zip(found[name], found["peer"])]
            ratio, goal = statistics.median(ratios), GOALS.get(row)
            is_slow |= goal is not None and ratio < goal
            shown = f"≥ {goal:g}" if goal else ""
            print(f"| {row} | {statistics.median(found[name]):.2f} | {ratio:.1f} | {shown} |")
        print(f"| {peer} | {statistics.median(found['peer']):.2f} | 1 | |")
    if is_slow:
        raise SystemExit("a goal is missed")


if __name__ == "__main__":
    main()
