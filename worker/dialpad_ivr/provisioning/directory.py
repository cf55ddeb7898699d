"""Reads targets on this machine: each list once, however many searches need it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.playback import CallHandling
from dialpad_ivr.contract.targets import LIST_PATHS, OFFICE_LIST_PATHS
from dialpad_ivr.contract.values import TARGETS_TASK_TYPE
from dialpad_ivr.dialpad.parsing import ListedTarget
from dialpad_ivr.dialpad.verdict import Verdict
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.tasks.caller import Caller, run
from dialpad_ivr.tasks.delivery import Delivery
from dialpad_ivr.tasks.directory import Directory, RefusedError
from dialpad_ivr.tasks.list_targets import first_call
from dialpad_ivr.tasks.result import Draft, Result

_Read = TypeVar("_Read")

# For a list: nobody delivers the task again, and the reads of many rows share the rate with it.
_LIST_SECONDS: Final = 1800.0


class TargetDirectory:
    """Reads targets with one credential: each list once, other than the task `list_targets`.

    Every method raises `RefusedError` where something could not be read to its end.
    """

    finds_all_by_name = True

    def __init__(self, credential: str, reader: Reader) -> None:
        self._credential = credential
        self._reader = reader
        self._lists: dict[tuple[str, str | None], asyncio.Task[list[ListedTarget]]] = {}
        self._of_office: dict[tuple[str, str], list[ListedTarget]] = {}
        self._by_name: dict[tuple[str, str | None], dict[str, list[ListedTarget]]] = {}
        self._handling: dict[tuple[str, str], CallHandling] = {}  # of what was read, by type and id
        self._office_ids: dict[tuple[str, str], str] = {}

    async def offices(self) -> list[ListedTarget]:
        """All offices; each belongs to itself."""
        return await self._list("office")

    async def named(self, target_type: str, name: str, *, office_id: str | None = None) -> list[ListedTarget]:
        """The targets of that name, whatever its upper and lower case."""
        targets = await self.targets(target_type, office_id=office_id)
        key = (target_type, office_id)
        if key not in self._by_name:  # no other search runs from here on, so it is built once
            by_name: dict[str, list[ListedTarget]] = defaultdict(list)
            for target in targets:
                by_name[(target.name or "").strip().casefold()].append(target)
            self._by_name[key] = by_name
        return self._by_name[key].get(name.casefold(), [])

    async def targets(self, target_type: str, *, office_id: str | None = None) -> list[ListedTarget]:
        """The targets of a type, or those of an office."""
        targets = await self._list(target_type)
        if office_id is None:
            return targets
        key = (target_type, office_id)
        if key not in self._of_office:
            if target_type in OFFICE_LIST_PATHS and any(target.office_id is None for target in targets):
                # The company's list does not show every target's office.
                self._of_office[key] = await self._list(target_type, office_id)
            else:
                self._of_office[key] = [target for target in targets if target.office_id == office_id]
        return self._of_office[key]

    async def users(self, *, email: str | None = None, number: str | None = None) -> list[ListedTarget]:
        """The users that Dialpad finds by an email address or a phone number: that they have it is not checked."""
        return await self._read("user", lambda directory: directory.users(email=email, number=number))

    async def number_owner(self, number: str) -> tuple[str, str] | None:
        """Type and id of the target that a number (E.164) belongs to; `None` if there is none."""
        return await self._read("office", lambda directory: directory.number_owner(number))

    async def target(self, target_type: str, target_id: str) -> ListedTarget | None:
        """One target; `None` if there is none of that id."""
        target = await self._read(target_type, lambda directory: directory.target(target_type, target_id))
        self._keep(target_type, [target] if target else [])
        return target

    async def handling(self, target_type: str, target_id: str) -> CallHandling | None:
        """How a target handles calls, from a list that was read, or else from itself; `None` if there is no such."""
        if (target_type, target_id) not in self._handling:
            await self.target(target_type, target_id)
        return self._handling.get((target_type, target_id))

    async def office_zone(self, target_type: str, target_id: str) -> str | None:
        """The time zone of a target's office; `None` if it is not known."""
        if (target_type, target_id) not in self._office_ids and target_type in LIST_PATHS:
            await self.target(target_type, target_id)
        office_id = self._office_ids.get((target_type, target_id))
        if office_id is None:
            return None
        return next((office.timezone for office in await self.offices() if office.id == office_id), None)

    def _keep(self, target_type: str, targets: list[ListedTarget]) -> None:
        self._handling.update({(target_type, target.id): target.handling for target in targets})
        self._office_ids.update({(target_type, target.id): target.office_id for target in targets if target.office_id})

    async def _list(self, target_type: str, office_id: str | None = None) -> list[ListedTarget]:
        key = (target_type, office_id)
        if key not in self._lists:
            self._lists[key] = asyncio.create_task(self._read_list(target_type, office_id))
        return await self._lists[key]

    async def _read_list(self, target_type: str, office_id: str | None) -> list[ListedTarget]:
        targets = await self._read(target_type, lambda directory: directory.targets(target_type, office_id=office_id))
        self._keep(target_type, targets)
        return targets

    async def _read(self, target_type: str, read: Callable[[Directory], Awaitable[_Read]]) -> _Read:
        """Read with the pace, the waits and the retries of a task.

        Raises:
            RefusedError: It could not be read to its end.
        """
        params = ListTargetsInput.model_validate({"target_type": target_type, "credential": self._credential})
        tools = self._reader.tools
        answers: list[_Read] = []

        async def judge(caller: Caller) -> Verdict:
            try:
                answers.append(await read(Directory(caller, tools.client, _LIST_SECONDS)))
            except RefusedError as exc:
                return exc.verdict
            return Verdict("listed")

        async def task(delivery: Delivery) -> Result:
            draft = Draft.of(delivery, TARGETS_TASK_TYPE, first_call(params, tools.client), None, [])
            return await run(delivery, tools, params, draft, judge)

        output = await self._reader.run(self._credential, params.model_dump(), task)
        if not output.ok:
            error = output.error
            raise RefusedError(
                Verdict(output.outcome, error.code if error else "", error.message if error else "no answer")
            )
        return answers[-1]
