"""Arguments as JSON, for the native module."""

from __future__ import annotations

import json
import os
from uuid import UUID

from .errors import SettingsError


def _text(value: object) -> str:
    """Returns a path or a UUID as a string.

    The string of another object may be a description of it, such as the stars of a masked password.
    """
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"an argument cannot be a {type(value).__name__}")


def dumps(value: object) -> str:
    """Returns a value as JSON. Raises `SettingsError` for a value that JSON cannot represent."""
    try:
        return json.dumps(value, default=_text, allow_nan=False)
    except (ValueError, RecursionError):
        detail = "an argument contains NaN, infinity, itself or too many levels"
        raise SettingsError("argument_invalid", detail, 500) from None
