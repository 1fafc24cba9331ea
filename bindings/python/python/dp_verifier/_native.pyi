"""The types of the native module."""

from collections.abc import Mapping
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import Any, Literal, final
from uuid import UUID

from typing_extensions import Unpack

from .types import ClaimOptions, Holder, LicenseState, Settings

__all__ = [
    "HeldLease",
    "LeaseContext",
    "Leases",
    "LicenseContext",
    "Limit",
    "Verifier",
    "accept_log",
    "log_record",
    "reset_state",
    "state_record",
]

def state_record(path: str | PathLike[str]) -> dict[str, Any]:
    """Returns the content of a state file, except the log."""

def reset_state(path: str | PathLike[str], because: str) -> dict[str, Any]:
    """Resets times, keys, status lists and license files in a state file, with a reason.

    The log and the numbers of usage reports stay. Returns the new content.
    """

def log_record(path: str | PathLike[str]) -> dict[str, Any]:
    """Returns the issuer's log in a state file."""

def accept_log(path: str | PathLike[str], because: str) -> dict[str, Any]:
    """Accepts the issuer's log in a state file after a contradiction, with a reason.

    Returns the new record.
    """

@final
class Limit:
    """The amount of a metric that a license includes."""

    @property
    def kind(self) -> Literal["unlimited", "at_most", "not_included"]: ...
    @property
    def value(self) -> int | None:
        """The number of `at_most`, else `None`."""

    def allows_another(self, used: int) -> bool:
        """Returns whether one more is included when `used` are in use."""

@final
class LicenseContext:
    """A verified license. Only a `Verifier` creates one."""

    @property
    def state(self) -> LicenseState:
        """The state when the license was verified."""

    @property
    def license_id(self) -> UUID: ...
    @property
    def token_id(self) -> UUID:
        """The token's own ID, its `jti`."""

    @property
    def issued_at(self) -> datetime: ...
    @property
    def not_before(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime:
        """When the token expires; exclusive."""

    @property
    def grace_until(self) -> datetime: ...
    @property
    def seat_cap(self) -> int: ...
    @property
    def log_index(self) -> int | None: ...
    @property
    def organization(self) -> dict[str, Any]: ...
    @property
    def deployment(self) -> dict[str, Any]: ...
    @property
    def subscription(self) -> dict[str, Any]: ...
    @property
    def plan(self) -> dict[str, Any]: ...
    @property
    def features(self) -> dict[str, Any]: ...
    @property
    def claims(self) -> dict[str, Any]:
        """The claims of the token. `dp_verifier.contract` has their models."""

    def feature(self, name: str) -> Any:
        """Returns the value of a feature, or `None`."""

    def has_feature(self, name: str) -> bool:
        """Returns whether a feature is enabled: its value is `True`, not merely present."""

    def limit(self, metric: str) -> Limit:
        """Returns the limit of a metric. An absent metric is not included."""

    def require_feature(self, name: str) -> None:
        """Requires an enabled feature, else raises `NotEntitled`."""

    def require_another(self, metric: str, used: int) -> None:
        """Requires that the license includes one more of a metric, else raises `NotEntitled`."""

    def require_state(self, *states: LicenseState) -> None:
        """Requires one of these states, else raises `NotEntitled`."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the license as the command `dp-verify` prints it."""

@final
class LeaseContext:
    """A verified lease token."""

    @property
    def lease_id(self) -> UUID: ...
    @property
    def pool(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def license_id(self) -> UUID: ...
    @property
    def holder(self) -> str:
        """The hash of the holder."""

    @property
    def claims(self) -> dict[str, Any]:
        """The claims of the token. `dp_verifier.contract` has their models."""

    @property
    def issued_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime:
        """The end of the lease; exclusive."""

    @property
    def borrowed(self) -> bool: ...
    @property
    def overage(self) -> bool: ...

@final
class HeldLease:
    """A held seat. Use it in a `with` block, or call `release`."""

    @property
    def state(self) -> Literal["held", "late", "borrowed", "lost", "released"]: ...
    def to_dict(self) -> dict[str, Any]:
        """Returns the ID, state, end, token, refusal and the lease as the control plane described it."""

    def wait_until_lost(self, timeout: float | None = None) -> bool:
        """Waits until the lease is lost, or the app has released or kept it.

        Returns whether that happened within the time, which is in seconds.
        """

    def borrow(self, seconds: int) -> str:
        """Borrows the seat. Returns the lease token."""

    def give_back(self) -> None:
        """Returns a borrowed seat before its end."""

    def release(self) -> None:
        """Releases the seat now."""

    def keep(self) -> None:
        """Keeps the seat after this object is gone."""

    def __enter__(self) -> HeldLease: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> Literal[False]: ...

@final
class Leases:
    """A client that claims seats, and keeps them by heartbeats on a thread of its own."""

    def acquire(
        self,
        pool: str,
        holder: Holder,
        *,
        license: LicenseContext | None = None,
        **options: Unpack[ClaimOptions],
    ) -> HeldLease:
        """Claims a seat of a pool for a holder, and waits for the response, up to 5 seconds."""

    def send_heartbeats(self) -> None:
        """Sends the heartbeats that are due now."""

    def take_usage(self) -> dict[str, Any]:
        """Returns the use of each pool since the last call, for `Verifier.usage_report`."""

@final
class Verifier:
    """A verifier of license tokens of one issuer for one audience.

    Create it once, and share it between threads. No function holds the GIL while it works.
    """

    def __new__(cls, **settings: Unpack[Settings]) -> Verifier: ...
    def verify(self, token: str) -> LicenseContext:
        """Checks a token now. Does no I/O. Raises `VerifyError`."""

    def verify_at(self, token: str, now: int) -> LicenseContext:
        """Checks a token at a time, in seconds since 1970."""

    def verify_with_proof(self, token: str, proof: str) -> LicenseContext:
        """Checks a token with a proof that it is in the issuer's log."""

    def verify_lease(self, lease: str, license: LicenseContext, holder: Holder) -> LeaseContext:
        """Checks a lease token beside its license."""

    def verify_lease_at(
        self, lease: str, license: LicenseContext, holder: Holder, now: int
    ) -> LeaseContext:
        """Checks a lease token beside its license at a time, in seconds since 1970."""

    def state_of(self, license: LicenseContext) -> LicenseState:
        """Returns the current state of a license that was admitted earlier."""

    def import_file(self, document: str) -> dict[str, Any]:
        """Imports a license file."""

    def import_status_list(self, document: str) -> dict[str, Any]:
        """Imports a status list token."""

    def replace_keys(self, jwks: str | Mapping[str, Any]) -> None:
        """Replaces the configured keys by those of a key set."""

    def current(self) -> LicenseContext:
        """Returns the license of the data plane's own token."""

    @property
    def current_token(self) -> str | None:
        """The data plane's own token, a credential."""

    def wait_for_status(self, token: str) -> None:
        """Waits for the first request for a token's status list, at most some seconds."""

    def refresh(self) -> None:
        """Fetches keys, status lists and the log now."""

    def check_in(self) -> None:
        """Checks in now."""

    def health(self) -> dict[str, Any]:
        """Returns the details of the health, for operators and metrics."""

    def readiness(self) -> dict[str, Any]:
        """Returns whether tokens can be judged, with reasons, ages and `http_status`.

        It contains codes and numbers only, so it may be public.
        """

    def usage_report(
        self, counters: Mapping[str, int], leases: Mapping[str, Any] | None = None
    ) -> str:
        """Creates the next usage report of the license files' deployment."""

    def leases(self, credential: str | None = None, *, license_key: str | None = None) -> Leases:
        """Returns a client that holds seats, with the deployment's token or a license key.

        A license key from another system must be the argument `license_key`.
        """

    def set_fixed_time(self, now: int) -> None:
        """Sets the clock of a verifier with the setting `fixed_time`, for tests."""
