"""Where keys come from, and that they go nowhere else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dialpad_ivr.credentials import CredentialError, Credentials


def write(path: Path, content: object) -> None:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    os.utime(path, ns=(path.stat().st_mtime_ns + 1_000_000,) * 2)


def test_the_engines_secret_comes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"default": "from-file"})
    environ = {"DIALPAD_API_KEY": "from-environment"}
    credentials = Credentials(file, environ)
    secret = credentials.find("default", {"DIALPAD_API_KEY": "from-engine"})
    assert secret.key.get_secret_value() == "from-engine"
    assert credentials.find("default").key.get_secret_value() == "from-environment"
    environ.clear()
    assert credentials.find("default").key.get_secret_value() == "from-file"


def test_a_profile_has_names_of_its_own() -> None:
    credentials = Credentials(environ={"DIALPAD_API_KEY_EMEA": "k", "DIALPAD_COMPANY_EMEA": "acme"})
    found = credentials.find("emea")
    assert (found.key.get_secret_value(), found.company) == ("k", "acme")


def test_a_key_is_its_own_company_unless_its_profile_names_one(tmp_path: Path) -> None:
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


def test_a_rotated_key_is_seen_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"default": "old"})
    credentials = Credentials(file, {})
    assert credentials.find("default").key.get_secret_value() == "old"
    write(file, {"default": "new-key"})
    assert credentials.find("default").key.get_secret_value() == "new-key"


def test_a_half_written_file_leaves_the_last_good_key_in_use(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    write(file, {"default": "old"})
    credentials = Credentials(file, {})
    credentials.find("default")
    write(file, '{"default": "ne')
    assert credentials.find("default").key.get_secret_value() == "old"


def test_a_missing_key_names_the_profile_and_the_places() -> None:
    with pytest.raises(CredentialError) as caught:
        Credentials(environ={}).find("emea")
    message = str(caught.value)
    assert "'emea'" in message
    assert "DIALPAD_API_KEY_EMEA" in message
    assert "DIALPAD_IVR_CREDENTIALS_FILE" in message


@pytest.mark.parametrize("content", ["not json SECRET", '["SECRET"]', '{"default": {"api_kee": "SECRET"}}'])
def test_an_unusable_file_is_told_without_its_contents(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    write(file, content)
    with pytest.raises(CredentialError) as caught:
        Credentials(file, {}).find("default")
    assert "SECRET" not in str(caught.value)
    assert "keys.json" in str(caught.value)


@pytest.mark.parametrize("key", ["with space", "line\nbreak", "\u00fcmlaut", "nul\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_told(key: str) -> None:
    with pytest.raises(CredentialError) as caught:
        Credentials(environ={"DIALPAD_API_KEY": key}).find("default")
    assert key not in str(caught.value)


def test_a_blank_key_is_none(tmp_path: Path) -> None:
    with pytest.raises(CredentialError):
        Credentials(environ={"DIALPAD_API_KEY": "  "}).find("default")


def test_no_repr_holds_a_key() -> None:
    credentials = Credentials(environ={"DIALPAD_API_KEY": "SECRET"})
    assert "SECRET" not in repr(credentials) + repr(credentials.find("default")) + str(credentials.find("default"))
