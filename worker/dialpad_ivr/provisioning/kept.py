"""What a command has read, kept for a while, so that it can go on after an interruption.

Each command writes a file of its own in the state directory, a line for each target that was read, and deletes it when
it is done: only that of an interrupted one stays. Another command reads it only if it is asked to. It holds names and
ids of IVRs and what is selected, never a key.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydantic import TypeAdapter

from dialpad_ivr.contract.outputs import FoundIvr

KEPT_SECONDS: Final = 900
"""For how long what was read is kept."""

_PREFIX: Final = "reads-"
_IVRS: Final = TypeAdapter(list[FoundIvr])


class KeptReads:
    """What one command reads, and what interrupted ones have read.

    A context, which closes the file. It is there to go on with unless `delete` was called.

    Attributes:
        used: How many reads an interrupted command had made already.
        oldest_seconds: The age of the oldest of them.
    """

    def __init__(
        self, folder: Path, api_url: str, *, resume: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        """Open a new file, and delete those that are too old.

        Args:
            folder: The state directory; created if absent.
            api_url: Base URL of the API that is read.
            resume: Whether to use what interrupted commands have read.
            clock: Seconds since 1970.

        Raises:
            OSError: The folder cannot be written.
        """
        self.used = 0
        self.oldest_seconds = 0.0
        self._kept = False
        self._clock = clock
        self._api_url = api_url
        self._earlier: dict[str, tuple[float, str]] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._done = [path for path in folder.glob(f"{_PREFIX}*.jsonl") if self._is_used(path, resume=resume)]
        self._path = folder / f"{_PREFIX}{secrets.token_hex(8)}.jsonl"
        opened = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._file = os.fdopen(opened, "w", encoding="utf-8", buffering=1)  # each line survives a crash

    def __enter__(self) -> KeptReads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        if not self._kept:
            self._path.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete what was read, here and before: all of it has been put to use."""
        for path in (*self._done, self._path):
            path.unlink(missing_ok=True)

    def find(self, company: str, payload: Mapping[str, Any]) -> list[FoundIvr] | None:
        """The IVRs that an interrupted command has read; `None` if it has not.

        Args:
            company: Whose they are.
            payload: The input of the task that lists them.
        """
        read_at, text = self._earlier.get(self._key(company, payload), (0.0, ""))
        age = self._clock() - read_at
        if not text or not 0 <= age <= KEPT_SECONDS:
            return None
        self.used += 1
        self.oldest_seconds = max(self.oldest_seconds, age)
        return _IVRS.validate_json(text)

    def keep(self, company: str, payload: Mapping[str, Any], ivrs: list[FoundIvr]) -> None:
        """Keep what was read."""
        line = [self._clock(), self._key(company, payload), _IVRS.dump_json(ivrs).decode()]
        self._file.write(json.dumps(line) + "\n")
        self._kept = True

    def _key(self, company: str, payload: Mapping[str, Any]) -> str:
        call = json.dumps([self._api_url, company, payload], sort_keys=True)
        return hashlib.sha256(call.encode()).hexdigest()

    def _is_used(self, path: Path, *, resume: bool) -> bool:
        """Whether what is in a file is to be used; one that is too old is deleted."""
        with suppress(OSError):  # another command has just deleted it, or it is not ours
            if self._clock() - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink()
            elif resume:
                self._earlier.update(self._lines(path))
                return True
        return False

    def _lines(self, path: Path) -> Iterator[tuple[str, tuple[float, str]]]:
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):  # the last line of a crash
                read_at, key, text = json.loads(line)
                _IVRS.validate_json(text)
                yield str(key), (float(read_at), text)
