"""What a command keeps of its reads for one that goes on after it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dialpad_ivr.contract.outputs import FoundIvr
from dialpad_ivr.provisioning.kept import KEPT_SECONDS, KeptReads

API, COMPANY = "https://dialpad.com", "acme"
CALL = {"target_type": "callcenter", "target_id": "1", "credential": "default", "ivr_type": None}
IVRS = [FoundIvr(id="10", name="\u202eWelcome\n", ivr_type="MENU", selected=True)]


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def interrupted(folder: Path, clock: Clock) -> None:
    """A command that read one target, and got no further."""
    with KeptReads(folder, API, clock=clock) as kept:
        kept.keep(COMPANY, CALL, IVRS)
    (file,) = folder.iterdir()
    os.utime(file, (clock.now, clock.now))


def test_what_an_interrupted_command_has_read_is_used_only_when_that_is_wanted(tmp_path: Path, clock: Clock) -> None:
    interrupted(tmp_path, clock)
    clock.now += 60
    with KeptReads(tmp_path, API, clock=clock) as another:
        assert another.find(COMPANY, CALL) is None
    with KeptReads(tmp_path, API, resume=True, clock=clock) as resumed:
        assert resumed.find(COMPANY, CALL) == IVRS
    assert (resumed.used, resumed.oldest_seconds) == (1, 60)


@pytest.mark.parametrize(
    ("api", "company", "call"),
    [
        ("https://sandbox.dialpad.com", COMPANY, CALL),
        (API, "another", CALL),
        (API, COMPANY, {**CALL, "target_id": "2"}),
        (API, COMPANY, {**CALL, "credential": "emea"}),
        (API, COMPANY, {**CALL, "ivr_type": "MENU"}),
    ],
)
def test_another_host_company_or_call_finds_nothing(
    tmp_path: Path, clock: Clock, api: str, company: str, call: dict[str, str | None]
) -> None:
    interrupted(tmp_path, clock)
    with KeptReads(tmp_path, api, resume=True, clock=clock) as kept:
        assert kept.find(company, call) is None


def test_what_is_too_old_is_deleted_and_not_used(tmp_path: Path, clock: Clock) -> None:
    interrupted(tmp_path, clock)
    clock.now += KEPT_SECONDS + 1
    with KeptReads(tmp_path, API, resume=True, clock=clock) as resumed:
        assert resumed.find(COMPANY, CALL) is None
    assert not [*tmp_path.iterdir()]


def test_a_command_that_is_done_leaves_nothing_behind(tmp_path: Path, clock: Clock) -> None:
    interrupted(tmp_path, clock)
    with KeptReads(tmp_path, API, resume=True, clock=clock) as kept:
        kept.keep(COMPANY, {**CALL, "target_id": "2"}, IVRS)
        kept.delete()
    assert not [*tmp_path.iterdir()]


def test_one_that_has_read_nothing_leaves_nothing_behind_either(tmp_path: Path) -> None:
    with KeptReads(tmp_path / "state", API):
        pass
    assert not [*(tmp_path / "state").iterdir()]


def test_only_the_owner_can_read_it(tmp_path: Path, clock: Clock) -> None:
    interrupted(tmp_path / "state", clock)
    (file,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_damaged_line_is_skipped(tmp_path: Path, clock: Clock) -> None:
    interrupted(tmp_path, clock)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(b"null\n[1]\n\xff\n" + whole + whole[: len(whole) // 2])
    os.utime(file, (clock.now, clock.now))
    with KeptReads(tmp_path, API, resume=True, clock=clock) as kept:
        assert kept.find(COMPANY, CALL) == IVRS
