"""The types of arguments and states, for annotations."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, Literal, TypedDict

LicenseState = Literal[
    "valid",
    "expiring",
    "grace",
    "stale",
    "log_anomaly",
    "clock_anomaly",
    "expired",
    "not_yet_valid",
    "suspended",
    "revoked",
]


class CheckIn(TypedDict):
    """The check-ins of a data plane."""

    url: str
    credential: str


class RequiredSettings(TypedDict):
    """The settings that every verifier needs."""

    issuer: str
    audience: str


class Settings(RequiredSettings, total=False):
    """The settings of a verifier. Times are in seconds."""

    jwks: str | Mapping[str, Any] | None
    jwks_file: str | PathLike[str] | None
    jwks_url: str | None
    jwks_store: str | PathLike[str] | None
    jwks_ca_file: str | PathLike[str] | None
    jwks_max_stale: int | None
    jwks_cooldown: int | None
    bundle_file: str | PathLike[str] | None
    state_path: str | PathLike[str] | None
    leeway: int | None
    time_floor: int | None
    strict_clock: bool
    expiring_period: int | None
    cache: int | None
    log_key: str | None
    require_inclusion: bool
    allow_unlogged: bool
    check_in: CheckIn | None
    token_store: str | PathLike[str] | None
    fixed_time: int | None


class Holder(TypedDict, total=False):
    """A person (`id`, `email`, `user_id`, `provider` and `subject`) or a machine."""

    id: str
    email: str
    user_id: str
    provider: str
    subject: str
    machine_id: bool
    text: str
    components: Mapping[str, str]


class ClaimOptions(TypedDict, total=False):
    """The options of a claim. Times are in seconds."""

    label: str
    meta: Mapping[str, str]
    ttl: int
    borrow: int
    take_over: bool
    token: bool
