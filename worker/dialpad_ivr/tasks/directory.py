"""Reads the company's targets for a task: offices, lists of targets, and the target of a phone number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio

from dialpad_ivr.contract.targets import OFFICE_LIST_PATHS, PLURALS
from dialpad_ivr.dialpad.calls import Calls, Request
from dialpad_ivr.dialpad.client import CallError
from dialpad_ivr.dialpad.parsing import Item, ListedTarget, read_number, read_target
from dialpad_ivr.dialpad.verdict import Verdict, error_verdict, no_answer_verdict
from dialpad_ivr.tasks.caller import Caller
from dialpad_ivr.tasks.paging import ListCall, read_pages

_PAGES = 1000  # of a company's targets; a page of users holds at most 100, and a company may have 10,000
_GONE = (404, 410)
SEARCHED = ("callcenter", "department")
"""The types that Dialpad can search by name."""


def list_call(
    calls: Calls, target_type: str, *, office_id: str | None = None, name: str | None = None
) -> Callable[[str | None], Request]:
    """What prepares the pages of a list of targets, each by the cursor of the page before.

    Args:
        calls: Prepares the calls.
        target_type: A type that Dialpad documents a list of.
        office_id: The office whose targets are wanted, where there is such a list.
        name: What a name must contain, where Dialpad can search by name.
    """
    lists: dict[str, Callable[[str | None], Request]] = {
        "callcenter": lambda cursor: calls.prepare_list_call_centers(name_search=name, cursor=cursor),
        "callrouter": lambda cursor: calls.prepare_list_call_routers(office_id=office_id, cursor=cursor),
        "channel": lambda cursor: calls.prepare_list_channels(cursor=cursor),
        "coachingteam": lambda cursor: calls.prepare_list_coaching_teams(cursor=cursor),
        "department": lambda cursor: calls.prepare_list_departments(name_search=name, cursor=cursor),
        "office": lambda cursor: calls.prepare_list_offices(cursor=cursor),
        "room": lambda cursor: calls.prepare_list_rooms(office_id=office_id, cursor=cursor),
        "user": lambda cursor: calls.prepare_list_users(cursor=cursor),
    }
    if office_id is not None:
        lists |= {
            "callcenter": lambda cursor: calls.prepare_list_office_call_centers(office_id, cursor=cursor),
            "coachingteam": lambda cursor: calls.prepare_list_office_coaching_teams(office_id, cursor=cursor),
            "department": lambda cursor: calls.prepare_list_office_departments(office_id, cursor=cursor),
        }
    return lists[target_type]


class RefusedError(Exception):
    """What was needed could not be read: nothing is concluded from what is missing.

    Attributes:
        verdict: The verdict on the task.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class Directory:
    """Reads targets. All its calls together have one deadline: the engine waits for a result.

    Every method raises what `Caller.send` raises, except for `CallError`, and `RefusedError`.
    """

    finds_all_by_name = False  # nobody says how Dialpad searches

    def __init__(self, caller: Caller, calls: Calls, seconds: float | None = None) -> None:
        """Start the deadline of all calls together.

        Args:
            caller: Makes the calls.
            calls: Prepares the calls.
            seconds: For all of them; `None` where the engine waits for the result.
        """
        self._caller = caller
        self._calls = calls
        # The engine delivers the task again after a read, a call and another read, and some time.
        self._until = anyio.current_time() + (3 * caller.list_seconds if seconds is None else seconds)

    async def offices(self) -> list[ListedTarget]:
        """All offices; each belongs to itself."""
        return await self.targets("office")

    async def named(self, target_type: str, name: str, *, office_id: str | None = None) -> list[ListedTarget]:
        """The targets whose name contains this, where Dialpad can search by name; elsewhere none."""
        if target_type not in SEARCHED or office_id is not None:
            return []
        try:
            return await self._list(target_type, list_call(self._calls, target_type, name=name))
        except RefusedError as exc:
            if exc.verdict.code != "http_400":  # a name that Dialpad cannot search for
                raise
            return []

    async def targets(self, target_type: str, *, office_id: str | None = None) -> list[ListedTarget]:
        """The targets of a type.

        Args:
            target_type: A type that Dialpad documents a list of.
            office_id: Only those of this office. Users are read one and all, and so are channels, which have none.
        """
        targets = await self._list(target_type, list_call(self._calls, target_type, office_id=office_id))
        if office_id is not None and target_type in OFFICE_LIST_PATHS:
            # That it is in the office's own list says enough.
            targets = [replace(target, office_id=target.office_id or office_id) for target in targets]
        if target_type == "office":
            targets = [replace(target, office_id=target.id) for target in targets]
        # Whatever the server made of the office in the path or in the query.
        return [target for target in targets if office_id in (None, target.office_id)]

    async def users(self, *, email: str | None = None, number: str | None = None) -> list[ListedTarget]:
        """The users that Dialpad finds by an email address or a phone number: that they have it is not checked."""
        return await self._list(
            "user", lambda cursor: self._calls.prepare_list_users(email=email, number=number, cursor=cursor)
        )

    async def number_owner(self, number: str) -> tuple[str, str] | None:
        """Type and id of the target that a number (E.164) belongs to; `None` if there is none."""
        owner = await self._one(self._calls.prepare_get_number(number), read_number)
        if owner is None or owner.target_type is None or owner.target_id is None:
            return None
        return owner.target_type, owner.target_id

    async def target(self, target_type: str, target_id: str) -> ListedTarget | None:
        """One target; `None` if there is none of that id."""
        target = await self._one(self._calls.prepare_get_target(target_type, target_id), read_target)
        if target is not None and target.id != target_id:
            message = f"Dialpad answered with another {target_type} than {target_id}."
            raise RefusedError(Verdict("unavailable", "another_target", message))
        return replace(target, office_id=target.id) if target and target_type == "office" else target

    async def _list(self, target_type: str, prepare: Callable[[str | None], Request]) -> list[ListedTarget]:
        call = ListCall(PLURALS[target_type], prepare, read_target, _PAGES)
        listing = await read_pages(self._caller, call, max(0.0, self._until - anyio.current_time()))
        if listing.refusal is not None:
            refusal = listing.refusal
            if refusal.outcome == "not_found":  # the list itself, not what is looked for in it
                refusal = replace(refusal, outcome="rejected")
            raise RefusedError(_named(prepare(None), refusal))
        # What is added or removed meanwhile may move others to the next page, where they come again.
        return list({target.id: target for target in listing.items}.values())

    async def _one(self, request: Request, read: Callable[[Any], Item | None]) -> Item | None:
        """What a GET of one thing answers; `None` if Dialpad knows no such thing."""
        try:
            with anyio.fail_after(max(0.0, self._until - anyio.current_time())):
                response = await self._caller.send(request)
        except CallError as exc:
            raise RefusedError(_named(request, no_answer_verdict(exc))) from None
        except TimeoutError:
            raise RefusedError(Verdict("unavailable", "deadline", "Reading the targets took too long.")) from None
        if response.status_code in _GONE:
            return None
        refusal = error_verdict(response, self._caller.profile)
        if refusal is not None:
            raise RefusedError(_named(request, refusal))
        item = read(response.json)
        if response.status_code != 200 or item is None or response.json.get("error") or response.json.get("errors"):
            message = "Dialpad's answer cannot be read."
            raise RefusedError(_named(request, Verdict("unavailable", "unreadable_answer", message)))
        return item


def _named(request: Request, verdict: Verdict) -> Verdict:
    """The verdict with the call that was refused: a key may be allowed some of them only."""
    return replace(verdict, message=f"{request.method} {request.template}: {verdict.message}")
