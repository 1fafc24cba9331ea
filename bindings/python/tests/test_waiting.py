"""Other threads go on while a call waits for the network."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dp_verifier import FetchError, Verifier

from conftest import checking_in_at

#: The time by which the control plane is late.
LATE = 1.0


class Checks:
    """A thread that checks a token again and again."""

    def __init__(self, verifier: Verifier, token: str) -> None:
        self.count, self.slowest, self.is_over = 0, 0.0, False
        self.thread = threading.Thread(target=self.run, args=(verifier, token))
        self.thread.start()

    def run(self, verifier: Verifier, token: str) -> None:
        while not self.is_over:
            begun = time.monotonic()
            assert verifier.verify(token).state == "valid"
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.count += 1
            time.sleep(0.005)

    def goes_on_during(self, call: Callable[[], Any]) -> Any:
        before, begun = self.count, time.monotonic()
        try:
            return call()
        finally:
            took = time.monotonic() - begun
            assert took >= LATE * 0.9, f"the call did not wait: {took}"
            # A call that holds the GIL stops the thread, so there would be one check or none.
            assert self.count - before >= 20, f"{self.count - before} checks in {took} seconds"
            assert self.slowest < LATE / 2, f"a check waited for {self.slowest} seconds"


@pytest.fixture
def checks(control_plane, token) -> Iterator[tuple[Checks, Verifier]]:
    verifier = checking_in_at(control_plane.url, jwks_cooldown=1)
    checks = Checks(verifier, token)
    control_plane.answer_late(LATE)
    yield checks, verifier
    checks.is_over = True
    checks.thread.join()


def test_build_refresh_and_check_in_release_the_gil(control_plane, checks):
    other, verifier = checks
    other.goes_on_during(lambda: checking_in_at(control_plane.url))
    with pytest.raises(FetchError):
        # The status list of the token is at an issuer that does not exist.
        other.goes_on_during(verifier.refresh)
    other.goes_on_during(verifier.check_in)


def test_leases_release_the_gil(checks):
    other, verifier = checks
    seats = verifier.leases("cpat_token")
    lease = other.goes_on_during(lambda: seats.acquire("seats", {"id": "a"}))
    other.goes_on_during(lambda: lease.borrow(60))
    other.goes_on_during(lambda: lease.wait_until_lost(LATE))
    other.goes_on_during(lease.release)


def test_drop_of_the_last_lease_releases_the_gil(checks):
    other, verifier = checks
    held = {"seats": verifier.leases("cpat_token")}
    held["lease"] = held["seats"].acquire("seats", {"id": "a"})

    def drop() -> None:
        # The drop of the client waits for the release of the seat.
        del held["lease"]
        del held["seats"]
        gc.collect()

    other.goes_on_during(drop)


def test_unknown_key_is_fetched_in_the_background(checks, token):
    _, verifier = checks
    before = verifier.health()["keys"]["attempts"]
    header, rest = token.split(".", 1)
    unknown = "eyJhbGciOiJSUzI1NiIsInR5cCI6ImxpY2Vuc2Urand0Iiwia2lkIjoibmV3In0." + rest
    begun = time.monotonic()
    with pytest.raises(Exception, match="kid_unknown"):
        verifier.verify(unknown)
    assert time.monotonic() - begun < LATE / 2
    until = time.monotonic() + 20
    while verifier.health()["keys"]["attempts"] == before:
        assert time.monotonic() < until, "no thread fetched the keys"
        time.sleep(0.02)
