"""What is published: archives that are the same when built again, and the SBOM beside them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dialpad_ivr import __version__
from tools import build

EPOCH = "1700000000"


@pytest.mark.long
def test_archives_follow_from_the_sources_and_their_date_alone(tmp_path: Path) -> None:
    digests = build.build_twice(tmp_path / "once", EPOCH)  # in another folder, umask and time zone
    assert set(digests) == {f"dialpad_ivr-{__version__}-py3-none-any.whl", f"dialpad_ivr-{__version__}.tar.gz"}
    later = build.build(tmp_path / "later", str(int(EPOCH) + 3600))
    assert not set(digests.values()) & set(later.values())


def test_the_date_is_the_last_commits_unless_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    assert build.source_date() == EPOCH
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    with pytest.raises(build.BuildError, match=r"no git checkout.*\n.*make build SOURCE_DATE_EPOCH="):
        build.source_date()
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message=It"]):
        identity = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"]
        date = {"GIT_COMMITTER_DATE": "1600000000 +0000"}
        subprocess.run(["git", *identity, *command], cwd=tmp_path, env={**os.environ, **date}, check=True)
    assert build.source_date() == "1600000000"


def test_a_second_build_that_differs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = iter([{"it.whl": "a", "it.tar.gz": "b"}, {"it.whl": "a", "it.tar.gz": "c"}])
    monkeypatch.setattr(build, "build", lambda *_, **__: next(built))
    with pytest.raises(build.BuildError, match=r"not the same: it\.tar\.gz\n"):
        build.build_twice(tmp_path, EPOCH)


def test_the_sbom_follows_from_the_wheel_and_the_lock_file_alone() -> None:
    document = build.sbom("ab" * 32, EPOCH)
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    assert document["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    component = document["metadata"]["component"]
    assert (component["name"], component["version"]) == ("dialpad-ivr", __version__)
    assert component["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert json.dumps(document) == json.dumps(build.sbom("ab" * 32, EPOCH))
    assert document["serialNumber"] != build.sbom("cd" * 32, EPOCH)["serialNumber"]
