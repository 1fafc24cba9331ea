"""Checks license tokens in a data plane: strict, fast, offline."""

from ._native import (
    HeldLease,
    LeaseContext,
    Leases,
    LicenseContext,
    Limit,
    Verifier,
    accept_log,
    log_record,
    reset_state,
    state_record,
)
from .errors import (
    FetchError,
    LeaseError,
    LicenseError,
    NotEntitled,
    SettingsError,
    VerifyError,
)

__all__ = [
    "FetchError",
    "HeldLease",
    "LeaseContext",
    "LeaseError",
    "Leases",
    "LicenseContext",
    "LicenseError",
    "Limit",
    "NotEntitled",
    "SettingsError",
    "Verifier",
    "VerifyError",
    "accept_log",
    "log_record",
    "reset_state",
    "state_record",
]
