"""What Dialpad has, by name: the targets of a type and the IVRs of a target. Each list is read when it is asked for.

They are read as `dialpad-ivr plan` reads them, by this process and its limiter, if it has the key of the credential
profile. If only the workers have it, a test request on the engine reads them; a task's output holds a part of a long
list. What was read is kept for a while: one who types a name asks for the same list with each letter.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from dialpad_ivr.console.pages import Pages
from dialpad_ivr.console.test_requests import RequestState, fetch_state, send_through_engine
from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outputs import (
    FoundIvr,
    FoundTarget,
    ListCustomIvrsOutput,
    ListTargetsOutput,
    TaskOutput,
)
from dialpad_ivr.contract.schema import ENDPOINTS
from dialpad_ivr.contract.values import LIST_TASK_TYPE, LISTED_LIMIT, TARGETS_TASK_TYPE
from dialpad_ivr.credentials import CredentialError
from dialpad_ivr.provisioning.directory import TargetDirectory
from dialpad_ivr.provisioning.listing import list_company
from dialpad_ivr.provisioning.reader import Reader

_WAIT_SECONDS = 2.0  # for a list; then the page polls
_KEPT_SECONDS = 300.0
_REFUSAL_KEPT_SECONDS = 10.0  # each letter of a name would send the refused call again
_KEPT: Final = 30  # lists
_POLL_SECONDS = 0.5  # of a test request on the engine
_ENGINE_SECONDS = 120.0


@dataclass(frozen=True)
class Wanted:
    """A list that is wanted: the IVRs of a target, or without its id the targets of the type.

    Attributes:
        ivr_type: The slot whose IVRs are wanted; `None` for all.
    """

    credential: str
    target_type: str
    target_id: str | None = None
    ivr_type: str | None = None


@dataclass(frozen=True)
class NamedList:
    """A list as far as it is known. It was read to its end, unless `reading`, `problem` or `cut` says otherwise.

    Attributes:
        items: What it has, by name.
        reading: Whether it is still being read.
        problem: Why it could not be read, with the call that was refused.
        cut: Whether `items` may be the first ones only.
        note: What could not be read in addition.
        read_at: When it was read, in milliseconds since 1970.
        via_engine: Whether a worker has read it.
    """

    items: tuple[FoundTarget | FoundIvr, ...] = ()
    reading: bool = False
    problem: str | None = None
    cut: bool = False
    note: str | None = None
    read_at: int = 0
    via_engine: bool = False


class Lists:
    """Reads lists, each at most once at a time, and keeps the last ones."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._reads: dict[tuple[str, Wanted], asyncio.Task[NamedList]] = {}

    async def read(self, wanted: Wanted, *, anew: bool = False) -> NamedList:
        """A list, if it can be read soon: a longer read goes on.

        Args:
            wanted: The list.
            anew: Whether to read it once more.
        """
        company = self._company(wanted.credential)
        key = (company or "", wanted)
        read = self._reads.pop(key, None)
        if read is None or (read.done() and (anew or _is_old(read))):
            read = asyncio.create_task(self._directly(wanted) if company else self._through_engine(wanted))
        self._reads[key] = read
        if len(self._reads) > _KEPT:
            del self._reads[next(iter(self._reads))]
        await asyncio.wait([read], timeout=_WAIT_SECONDS)
        return read.result() if read.done() else NamedList(reading=True)

    def known(self, wanted: Wanted, id_: str) -> FoundTarget | FoundIvr | None:
        """What a list that was read before has of this id."""
        read = self._reads.get((self._company(wanted.credential) or "", wanted))
        if read is None or not read.done() or read.exception():
            return None
        return next((item for item in read.result().items if item.id == id_), None)

    def _company(self, credential: str) -> str | None:
        """The company whose key this process has in that profile."""
        try:
            return self._pages.tools.credentials.find(credential).company
        except CredentialError:
            return None

    async def _directly(self, wanted: Wanted) -> NamedList:
        reader = Reader(self._pages.tools)
        if wanted.target_id is None:
            return await _targets(wanted, TargetDirectory(wanted.credential, reader))
        return _named_list(
            await reader.list_ivrs(wanted.target_type, wanted.target_id, wanted.credential, wanted.ivr_type)
        )

    async def _through_engine(self, wanted: Wanted) -> NamedList:
        connection = await self._pages.connection()
        if not connection.version:  # without the key and without an engine: the task says where it looks for the key
            return _refused(connection.problem) if connection.problem else await self._directly(wanted)
        engine, task_type = self._pages.engine, TARGETS_TASK_TYPE if wanted.target_id is None else LIST_TASK_TYPE
        state = await send_through_engine(engine, task_type, _payload(wanted))
        until = time.monotonic() + _ENGINE_SECONDS
        while state.in_progress and state.workflow_id and time.monotonic() < until:
            await asyncio.sleep(_POLL_SECONDS)
            state = await fetch_state(engine, state.workflow_id)
        if state.output is None or state.in_progress:
            return _refused(_why(state))
        return _named_list(state.output, via_engine=True)


def _payload(wanted: Wanted) -> dict[str, str]:
    fields = ("target_type", "target_id", "ivr_type", "credential")
    return {name: value for name in fields if (value := getattr(wanted, name)) is not None}


def _is_old(read: asyncio.Task[NamedList]) -> bool:
    if read.exception():
        return True
    found = read.result()
    kept = _REFUSAL_KEPT_SECONDS if found.problem else _KEPT_SECONDS
    return time.time() - found.read_at / 1000 > kept


async def _targets(wanted: Wanted, directory: TargetDirectory) -> NamedList:
    """Read all targets of a type, and the names of their offices if the key may list those."""
    params = ListTargetsInput.model_validate({"target_type": wanted.target_type, "credential": wanted.credential})
    listing = await list_company([params], directory, lambda *_: None)
    if listing.refused and not listing.targets:
        return _refused(listing.refused[0])
    note = f"The names of the offices could not be read. {listing.refused[0]}" if listing.refused else None
    return NamedList(_by_name([target.found for target in listing.targets]), note=note, read_at=_now())


def _named_list(output: TaskOutput, *, via_engine: bool = False) -> NamedList:
    """What a task's output lists, or why it does not."""
    if not output.ok:
        message = output.error.message if output.error else "There was no answer."
        if isinstance(output, ListCustomIvrsOutput) and output.attempts:
            message = f"{' '.join(ENDPOINTS[LIST_TASK_TYPE])}: {message}"
        return _refused(message)
    items: list[FoundTarget] | list[FoundIvr] = []
    if isinstance(output, ListTargetsOutput):
        items = output.targets
    elif isinstance(output, ListCustomIvrsOutput):
        items = output.ivrs
    return NamedList(_by_name(items), cut=len(items) >= LISTED_LIMIT, read_at=_now(), via_engine=via_engine)


def _refused(problem: str) -> NamedList:
    return NamedList(problem=problem, read_at=_now())


def _by_name(items: list[FoundTarget] | list[FoundIvr]) -> tuple[FoundTarget | FoundIvr, ...]:
    return tuple(sorted(items, key=lambda item: ((item.name or "").casefold(), item.id)))


def _why(state: RequestState) -> str:
    if state.in_progress and not state.problem:
        return f"The engine had no result after {_ENGINE_SECONDS:g} s. Is a worker running? dialpad-ivr worker"
    return state.problem or "The engine has no result."


def _now() -> int:
    return round(time.time() * 1000)
