"""The pages of playbooks: a button for each, which rehearses it, says what will change, and then starts it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Final
from urllib.parse import quote

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dialpad_ivr.console.override_actions import field_problem, reason_of
from dialpad_ivr.console.pages import Pages, digest, read_form
from dialpad_ivr.console.zones import ZONE_LIMIT, zone_names
from dialpad_ivr.engine.api import EngineError, current_user
from dialpad_ivr.provisioning import playbooks, rehearsals
from dialpad_ivr.provisioning.changes import group_violations
from dialpad_ivr.provisioning.override_control import is_too_large
from dialpad_ivr.provisioning.planned_ahead import TOO_LARGE
from dialpad_ivr.provisioning.playbooks import Playbook, PlaybookError
from dialpad_ivr.provisioning.reader import Reader
from dialpad_ivr.provisioning.rehearsals import Rehearsal
from dialpad_ivr.provisioning.times import Window, read_duration, read_window, zone_text

_KEPT = 8  # rehearsals
_WAIT_SECONDS = 2.0  # for a rehearsal; then the page polls
_FRESH_SECONDS = 900.0  # for which what was read is good enough to start with
_ROWS_SHOWN = 50
_TEXT_LIMIT = 40  # characters of a duration or a time

ACTIONS: Final = {
    "missing_ivr": "missing IVR",
    "ambiguous_ivr": "ambiguous IVR",
    "unknown_target": "unknown target",
    "unreadable": "not read",
}
"""What stands in the way of a row, for people."""


@dataclass
class _Rehearsed:
    """A rehearsal that is being made, or was.

    Attributes:
        progress: What is being read, how many were, and the total.
        read_at: When it was begun.
        started: Starts the override; `None` as long as nobody has confirmed it.
    """

    playbook: Playbook
    read_at: datetime
    progress: tuple[str, int, int] = ("Looking up targets", 0, 0)
    task: asyncio.Task[Rehearsal] | None = None
    started: asyncio.Task[str] | None = None

    def note(self, what: str, done: int, total: int) -> None:
        self.progress = (what, done, total)


class PlaybookPages:
    """Playbooks."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._rehearsals: dict[str, _Rehearsed] = {}

    async def playbooks(self, request: Request) -> Response:
        """The playbooks, each with a button that rehearses it."""
        problem, found = None, []
        try:
            found = await anyio.to_thread.run_sync(playbooks.list_playbooks, self._pages.engine)
        except EngineError as exc:
            problem = str(exc)
        return self._pages.page(request, "playbooks", playbooks=found, problem=problem)

    async def rehearse(self, request: Request) -> Response:
        """Rehearse a playbook: look up its names, and read what is selected."""
        name = request.path_params["name"]
        try:
            playbook = await anyio.to_thread.run_sync(playbooks.read, self._pages.engine, name)
        except PlaybookError as exc:
            raise HTTPException(404, str(exc)) from None
        except EngineError as exc:
            raise HTTPException(503 if exc.transient else 404, str(exc)) from None
        rehearsed = _Rehearsed(playbook, datetime.now(timezone.utc))
        api_url, reader = self._pages.tools.settings.api_url, Reader(self._pages.tools)
        rehearsed.task = asyncio.create_task(rehearsals.rehearse(playbook, reader, api_url, rehearsed.note))
        token = secrets.token_hex(8)
        self._rehearsals[token] = rehearsed
        if len(self._rehearsals) > _KEPT:
            del self._rehearsals[next(iter(self._rehearsals))]
        await asyncio.wait([rehearsed.task], timeout=_WAIT_SECONDS)
        return RedirectResponse(f"{playbook_path(playbook)}/{token}", 303)

    async def start(self, request: Request) -> Response:
        """What a playbook would do now, and with the confirmation of that, its start."""
        rehearsed = self._rehearsals.get(request.path_params["token"])
        if rehearsed is None or rehearsed.playbook.name != request.path_params["name"] or rehearsed.task is None:
            raise HTTPException(404, "What was read for this start is no longer kept. Open the playbook again.")
        form = await read_form(request) if request.method == "POST" else {}
        if not rehearsed.task.done():
            return self._page(request, rehearsed, form)
        try:
            rehearsal = rehearsed.task.result()
        except PlaybookError as exc:
            return self._page(request, rehearsed, form, problems=[str(exc)])
        window, problems = _window(rehearsed.playbook, rehearsal, form)
        overlaps: list[str] = []
        if window and rehearsed.started is None:
            try:
                met = await anyio.to_thread.run_sync(rehearsals.others, self._pages.engine, rehearsal.plan, window.end)
                overlaps = [each.text(window.zone) for each in met]
            except EngineError as exc:
                problems.append(str(exc))
        if (datetime.now(timezone.utc) - rehearsed.read_at).total_seconds() > _FRESH_SECONDS:
            problems.append("This was read a while ago. Rehearse it again.")
        reason = reason_of(form)
        # A duration counts from the start. However an end is written, and in whatever zone, it is confirmed once.
        lasts, until, _ = _times(rehearsed.playbook, form)
        end = window.end if window and until else read_duration(lasts)
        confirmation = digest(request.path_params["token"], str(end))
        ready = rehearsal.ok and bool(rehearsal.plan.changes) and window is not None and not (problems or overlaps)
        if request.method == "POST" and not reason:
            problems.append("reason: say why, for the record.")
        if ready and window and reason and form.get("confirmed") == confirmation:
            return await self._start(request, rehearsed, rehearsal, window, reason)
        changed = ready and "confirmed" in form and form["confirmed"] != confirmation
        confirmation = confirmation if ready else ""
        return self._page(
            request, rehearsed, form, rehearsal, window, problems, overlaps, confirmation, changed=changed
        )

    async def _start(
        self, request: Request, rehearsed: _Rehearsed, rehearsal: Rehearsal, window: Window, reason: str
    ) -> Response:
        """Start it, once: whoever presses the button twice gets to the same override."""
        if rehearsed.started is None:
            start = partial(rehearsals.start, reason=reason, requested_by=current_user())
            engine, playbook, plan = self._pages.engine, rehearsed.playbook, rehearsal.plan
            rehearsed.started = asyncio.create_task(anyio.to_thread.run_sync(start, engine, playbook, plan, window))
        try:
            workflow_id = await asyncio.shield(rehearsed.started)
        except EngineError as exc:
            if not exc.perhaps_done:
                rehearsed.started = None  # and may be tried again
            again = " See whether it was started on the page of overrides." if exc.perhaps_done else ""
            return self._page(request, rehearsed, {"reason": reason}, rehearsal, window, [f"{exc}{again}"])
        return RedirectResponse(f"/overrides/{quote(workflow_id, safe='')}", 303)

    def _page(
        self,
        request: Request,
        rehearsed: _Rehearsed,
        form: Mapping[str, str],
        rehearsal: Rehearsal | None = None,
        window: Window | None = None,
        problems: Sequence[str] = (),
        overlaps: Sequence[str] = (),
        confirmation: str = "",
        *,
        changed: bool = False,
    ) -> Response:
        playbook = rehearsed.playbook
        rows = rehearsal.plan.changes if rehearsal else []
        lasts, until, zone = _times(playbook, form)
        return self._pages.page(
            request,
            "playbook",
            422 if problems and request.method == "POST" else 200,
            playbook=playbook,
            url=f"{playbook_path(playbook)}/{request.path_params['token']}",
            back=playbook_path(playbook),
            progress=rehearsed.progress,
            reading=rehearsed.task is not None and not rehearsed.task.done(),
            rehearsal=rehearsal,
            targets=len({(row.credential, row.target_type, row.target_id) for row in rows}),
            changes=rows[:_ROWS_SHOWN],
            more=max(0, len(rows) - _ROWS_SHOWN),
            in_the_way=_in_the_way(rehearsal) if rehearsal else [],
            problems=problems,
            overlaps=overlaps,
            window=window,
            until_text=zone_text(window.end, window.zone) if window and window.end else "",
            confirmation=confirmation,
            changed=changed,
            lasts=lasts,
            until=until,
            zone=window.zone.key if window else playbook.zone,
            chosen_zone=zone,
            zones=zone_names(),
            reason=reason_of(form),
        )


def playbook_path(playbook: Playbook) -> str:
    """Where it is rehearsed."""
    return f"/playbooks/{quote(playbook.name, safe='')}"


def _times(playbook: Playbook, form: Mapping[str, str]) -> tuple[str, str, str]:
    """How long it lasts, or else until when, and the zone of that: as the form says, else as the playbook does."""
    until = form.get("until", "").strip()[:_TEXT_LIMIT]
    lasts = "" if until else form.get("lasts", playbook.lasts).strip()[:_TEXT_LIMIT]
    return lasts, until, form.get("end_zone", playbook.zone).strip()[:ZONE_LIMIT]


def _window(playbook: Playbook, rehearsal: Rehearsal, form: Mapping[str, str]) -> tuple[Window | None, list[str]]:
    """From now until the end that the form says; `None` with what is wrong with it."""
    lasts, until, zone = _times(playbook, form)
    if not lasts and not until:
        return None, ["for: say how long it lasts, such as 12h, or until when."]
    window = read_window(
        start=None,
        until=until or None,
        lasts=lasts or None,
        zone=zone,
        rows=len(rehearsal.plan.changes),
        now=datetime.now(timezone.utc),
    )
    return (None, [field_problem(each) for each in window]) if isinstance(window, tuple) else (window, [])


def _in_the_way(rehearsal: Rehearsal) -> list[tuple[str, str, str]]:
    """Why it cannot be started: of each row its lines, what it is about, and what is wrong."""
    found = [
        (
            ", ".join(map(str, group.lines)),
            group.violation.path.replace("$", ""),
            f"{group.violation.message} {group.violation.hint}",
        )
        for group in group_violations(rehearsal.violations)
    ]
    found += [
        (str(row.line), row.slot_text, f"{ACTIONS.get(row.action, row.action)}: {row.note}")
        for row in rehearsal.plan.blocked
    ]
    found += [
        (str(row.line), row.slot_text, f"It could not be restored: {why}.") for row, why in rehearsal.unrestorable
    ]
    if is_too_large(rehearsal.plan):
        found.append(("", "", TOO_LARGE))
    return found
