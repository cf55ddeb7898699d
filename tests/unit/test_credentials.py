"""Where keys are looked up, and that no error or repr shows one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dialpad_ivr.credentials import CredentialError, Credentials


def write(path: Path, content: object) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, ns=(path.stat().st_mtime_ns + 1_000_000,) * 2)


def test_key_is_taken_from_runtime_metadata_then_environment_then_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"default": "from-file"})
    environ = {"DIALPAD_API_KEY": "from-environment"}
    credentials = Credentials(file, environ)
    secret = credentials.find("default", {"DIALPAD_API_KEY": "from-engine"})
    assert secret.key.get_secret_value() == "from-engine"
    assert credentials.find("default").key.get_secret_value() == "from-environment"
    environ.clear()
    assert credentials.find("default").key.get_secret_value() == "from-file"


def test_profile_has_its_own_variables() -> None:
    credentials = Credentials(environ={"DIALPAD_API_KEY_EMEA": "k", "DIALPAD_COMPANY_EMEA": "acme"})
    found = credentials.find("emea")
    assert (found.key.get_secret_value(), found.company) == ("k", "acme")


def test_company_is_the_digest_of_the_key_unless_the_profile_names_one(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(
        file,
        {
            "a": "k1",
            "same": "k1",
            "d": "k4",
            "b": {"api_key": "k2", "company": "acme"},
            "c": {"api_key": "k3", "company": "acme"},
        },
    )
    credentials = Credentials(file, {})
    same, other = credentials.find("a"), credentials.find("same")
    assert same.company == other.company != credentials.find("d").company
    assert "k1" not in same.company
    assert credentials.find("b").company == credentials.find("c").company == "acme"


def test_profiles_are_those_with_a_key_and_the_default_one(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"acme": "k1", "Not/a+profile": "k2"})
    environ = {"DIALPAD_API_KEY_EMEA": "k3", "DIALPAD_API_KEY_UNSET": "", "DIALPAD_COMPANY_OTHER": "x"}
    assert Credentials(file, environ).profiles() == ["acme", "default", "emea"]
    assert Credentials(None, {}).profiles({"DIALPAD_API_KEY_NORTH": "k4", "OTHER": "x"}) == ["default", "north"]
    write(file, "{")
    assert Credentials(file, environ).profiles() == ["default", "emea"]


def test_rotated_key_is_used_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"default": "old"})
    credentials = Credentials(file, {})
    assert credentials.find("default").key.get_secret_value() == "old"
    write(file, {"default": "new-key"})
    assert credentials.find("default").key.get_secret_value() == "new-key"


def test_half_written_file_leaves_the_last_valid_key_in_use(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"default": "old"})
    credentials = Credentials(file, {})
    credentials.find("default")
    write(file, '{"default": "ne')
    assert credentials.find("default").key.get_secret_value() == "old"


def test_missing_key_error_names_the_profile_and_the_places_searched() -> None:
    with pytest.raises(CredentialError) as caught:
        Credentials(environ={}).find("emea")
    message = str(caught.value)
    assert "'emea'" in message
    assert "DIALPAD_API_KEY_EMEA" in message
    assert "DIALPAD_IVR_CREDENTIALS_FILE" in message


@pytest.mark.parametrize("content", ["not json SECRET", '["SECRET"]', '{"default": {"api_kee": "SECRET"}}'])
def test_invalid_file_error_does_not_show_its_contents(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    write(file, content)
    with pytest.raises(CredentialError) as caught:
        Credentials(file, {}).find("default")
    assert "SECRET" not in str(caught.value)
    assert "keys.json" in str(caught.value)


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "\u00fcmlaut", "nul\x00"])
def test_key_that_no_header_can_carry_is_rejected_without_being_shown(key: str) -> None:
    with pytest.raises(CredentialError) as caught:
        Credentials(environ={"DIALPAD_API_KEY": key}).find("default")
    assert key not in str(caught.value)


def test_blank_key_counts_as_missing(tmp_path: Path) -> None:
    with pytest.raises(CredentialError):
        Credentials(environ={"DIALPAD_API_KEY": "  "}).find("default")


def test_key_is_in_no_repr() -> None:
    credentials = Credentials(environ={"DIALPAD_API_KEY": "SECRET"})
    assert "SECRET" not in repr(credentials) + repr(credentials.find("default")) + str(credentials.find("default"))
