"""Credential profiles: a profile's API key, and the company whose rate limits its calls count against.

A key is looked up in the task's `runtimeMetadata` (the engine's secrets), the environment and a file, in this order.
Its name is `DIALPAD_API_KEY` for the profile `default`, and `DIALPAD_API_KEY_EMEA` for a profile `emea`. The file is
JSON:

    {"default": "KEY", "emea": {"api_key": "KEY", "company": "acme"}}

A profile names its company (`DIALPAD_COMPANY`, `DIALPAD_COMPANY_EMEA`, or `company` in the file), so that several keys
of one company share its limits. Without a company, the key's SHA-256 digest identifies it, so that profiles and workers
with the same key share its limits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from dialpad_ivr.contract.inputs import PROFILE

KEY_NAME = "DIALPAD_API_KEY"
COMPANY_NAME = "DIALPAD_COMPANY"


class CredentialError(Exception):
    """No usable key for a profile. The message names the profile and the places searched, never a key."""


def company_label(company: str) -> str:
    """A company as it is shown: its name, or the beginning of its key's digest."""
    return company[:12] if company.startswith("key:") else company


@dataclass(frozen=True)
class Credential:
    """An API key, and the company whose limits its calls count against."""

    key: SecretStr
    company: str
    source: str
    """Where the key was found, for `doctor`."""

    @property
    def company_label(self) -> str:
        """The company in logs and metrics."""
        return company_label(self.company)


class _FileProfile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    api_key: SecretStr
    company: str | None = None


_FILE = TypeAdapter(dict[str, SecretStr | _FileProfile])


def variable(name: str, profile: str) -> str:
    """A profile's environment variable: `DIALPAD_API_KEY` for `default`, `DIALPAD_API_KEY_EMEA` for `emea`."""
    return name if profile == "default" else f"{name}_{profile.upper()}"


class Credentials:
    """Looks up keys. The file is reloaded when it changes, so that keys can be rotated without a restart."""

    def __init__(self, file: Path | None = None, environ: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._environ = os.environ if environ is None else environ
        self._stamp: tuple[int, int, int] | None = None
        self._profiles: dict[str, SecretStr | _FileProfile] = {}

    def find(self, profile: str, runtime_metadata: Mapping[str, object] | None = None) -> Credential:
        """The credential of a profile.

        Args:
            profile: The profile's name.
            runtime_metadata: The task's, which holds the engine's secrets by name.

        Raises:
            CredentialError: There is no key, or it cannot be sent in a header, or the file is unreadable.
        """
        name = variable(KEY_NAME, profile)
        entry = self._read_file().get(profile)
        from_file = entry if isinstance(entry, SecretStr) else entry.api_key if entry else None
        company = self._environ.get(variable(COMPANY_NAME, profile)) or (
            entry.company if isinstance(entry, _FileProfile) else None
        )
        candidates: tuple[tuple[str, object], ...] = (
            (f"the engine's secret {name}", (runtime_metadata or {}).get(name)),
            (f"the environment variable {name}", self._environ.get(name)),
            (f"the file {self._file}", from_file.get_secret_value() if from_file else None),
        )
        for source, value in candidates:
            key = value.strip() if isinstance(value, str) else ""
            if not key:
                continue
            if not (key.isascii() and key.isprintable() and " " not in key):
                raise CredentialError(
                    f"The key of profile {profile!r} from {source} contains characters no key can have."
                )
            return Credential(SecretStr(key), company or f"key:{hashlib.sha256(key.encode()).hexdigest()[:24]}", source)
        places = [f"the engine's secret {name} (runtimeMetadata)", f"the environment variable {name}"]
        places.append(f"the file {self._file}" if self._file else "a file (DIALPAD_IVR_CREDENTIALS_FILE is not set)")
        raise CredentialError(f"No API key for credential profile {profile!r}. Looked in {', '.join(places)}.")

    def profiles(self, runtime_metadata: Mapping[str, object] | None = None) -> list[str]:
        """The profiles that have a key in the environment, the file or the engine's secrets, and `default`; sorted."""
        in_file: Mapping[str, object] = {}
        with contextlib.suppress(CredentialError):  # `find` reports what is wrong with the file
            in_file = self._read_file()
        prefix = variable(KEY_NAME, "")
        variables = {**self._environ, **(runtime_metadata or {})}
        named = (
            name.removeprefix(prefix).lower() for name, key in variables.items() if name.startswith(prefix) and key
        )
        return sorted(filter(PROFILE.search, {"default", *in_file, *named}))

    def _read_file(self) -> Mapping[str, SecretStr | _FileProfile]:
        """The profiles in the file, if there is one."""
        if self._file is None:
            return {}
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp != self._stamp:
                self._profiles = _FILE.validate_json(self._file.read_bytes())
                self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._profiles = None, {}
        except (OSError, ValidationError) as exc:
            if self._profiles:  # perhaps half-written: use the last valid contents until then
                return self._profiles
            # Any text in the file may be a key: show only the type of the error.
            raise CredentialError(
                f"The credentials file {self._file} is invalid ({type(exc).__name__}). It must be JSON such as "
                '{"default": "KEY", "emea": {"api_key": "KEY", "company": "acme"}}.'
            ) from None
        return self._profiles
