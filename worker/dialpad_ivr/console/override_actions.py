"""What a person can do with an override: approve, end, extend and cancel it. A question first says what that does."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Final
from urllib.parse import quote, urlencode

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dialpad_ivr.console.pages import Pages, digest, read_form
from dialpad_ivr.console.zones import ZONE_LIMIT, chosen_zone, shown_in, zone_names
from dialpad_ivr.engine.api import EngineError, current_user
from dialpad_ivr.provisioning import override_control as control
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.override_text import state_text
from dialpad_ivr.provisioning.overrides import Override, read_override
from dialpad_ivr.provisioning.run import ProvisioningRun
from dialpad_ivr.provisioning.times import Problem, Window, read_window

STATES: Final = {
    "approve": ("approval",),
    "end": ("applying", "active"),
    "extend": ("planned", "applying", "active"),
    "cancel": ("approval", "planned"),
}
"""What a person can do with an override, and in which of its states."""

_DONE_WITHIN_SECONDS = 2.0  # then its page says that it is being done
_SEEN_WITHIN_SECONDS = 60.0  # after which the engine must have taken an answer
_RUNS_CACHED = 8  # halves of overrides
_TEXT_LIMIT = 500  # characters of a reason


@dataclass(frozen=True)
class _Deed:
    """What a person has ordered, while it is done."""

    task: asyncio.Task[Override]
    action: str
    before: tuple[str, datetime | None]  # the state and the end of the override
    at: float


def override_path(override: Override) -> str:
    """The address of its page."""
    return f"/overrides/{quote(override.workflow_id, safe='')}"


class OverrideActions:
    """Approves, ends, extends and cancels overrides."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._deeds: dict[str, _Deed] = {}
        self._runs: dict[str, ProvisioningRun] = {}
        self._reading = anyio.CapacityLimiter(1)  # a page that is polled must not keep the engine busy

    async def read_run(self, request: Request) -> OverrideRun:
        """The override of this address.

        Raises:
            HTTPException: There is none, or the engine did not answer.
        """
        engine, workflow_id = self._pages.engine, request.path_params["workflow_id"]

        def read() -> OverrideRun:
            run = OverrideRun(engine, read_override(engine, workflow_id), self._runs)
            while len(self._runs) > _RUNS_CACHED:
                del self._runs[next(iter(self._runs))]
            return run

        try:
            return await anyio.to_thread.run_sync(read, limiter=self._reading)
        except EngineError as exc:
            raise HTTPException(503 if exc.transient else 404, str(exc)) from None

    async def act(self, request: Request) -> Response:
        """Approve, end, extend or cancel: at first the question, which says what happens, then the confirmed deed."""
        action = request.path_params["action"]
        if action not in STATES:
            raise HTTPException(404, "There is no such page.")
        form: Mapping[str, str] = await read_form(request) if request.method == "POST" else {}
        run = await self.read_run(request)
        if action not in actions_of(run):
            return RedirectResponse(f"{_url(run, request)}&refused={action}", 303)  # its page says why
        if action == "extend":
            return await self._extend(request, run, form)
        confirmation = digest(action, run.override.workflow_id)
        if form.get("confirmed") != confirmation:
            return self._question(request, run, action, form, confirmation=confirmation)
        deeds = {
            "approve": control.approve_override,
            "end": control.end_override,
            "cancel": control.cancel_override,
        }
        return await self._do(request, run, action, partial(deeds[action], reason=reason_of(form)))

    async def _extend(self, request: Request, run: OverrideRun, form: Mapping[str, str]) -> Response:
        override = run.override
        if request.method == "GET":
            return self._question(request, run, "extend", form)
        now = datetime.now(timezone.utc)
        until, zone = form.get("until", "").strip(), form.get("new_zone", "").strip()[:ZONE_LIMIT]
        window = read_window(start=None, until=until, lasts=None, zone=zone, rows=None, now=now)
        if isinstance(window, tuple):
            return self._question(request, run, "extend", form, problems=[field_problem(each) for each in window])
        ask = partial(self._question, request, run, "extend", form, window=window)
        if problem := control.end_problem(override, window.end):
            return ask(problems=[problem])
        try:
            overlaps = partial(control.overlaps_if_extended, self._pages.engine, override, window.end)
            met = await anyio.to_thread.run_sync(overlaps)
        except EngineError as exc:
            return ask(problems=[str(exc)])
        if met:
            texts = [each.text(window.zone) for each in met]
            return ask(problems=[*texts, "Two overrides cannot have a slot at the same time."])
        # What was shown as the end until now is confirmed, too: somebody else may have moved it.
        confirmation = digest("extend", override.workflow_id, str(window.end), str(override.end))
        if form.get("confirmed") != confirmation:
            return ask(confirmation=confirmation)
        deed = partial(control.extend_override, until=window.end, reason=reason_of(form))
        return await self._do(request, run, "extend", deed)

    def _question(
        self,
        request: Request,
        run: OverrideRun,
        action: str,
        form: Mapping[str, str],
        *,
        confirmation: str = "",
        problems: Sequence[str] = (),
        window: Window | None = None,
    ) -> Response:
        zone, _ = chosen_zone(request)
        ends_in = window.zone if window else zone
        end = window.end if window else run.override.end
        return self._pages.page(
            request,
            "override_action",
            422 if problems else 200,
            run=run,
            override=run.override,
            state=state_text(run.override),
            begun=run.override.start <= datetime.now(timezone.utc),
            url=_url(run, request),
            form_url=f"{override_path(run.override)}/{action}?{urlencode({'zone': zone.key})}",
            action=action,
            confirmation=confirmation,
            problems=problems,
            window=window,
            reason=reason_of(form),
            until=f"{end.astimezone(ends_in):%Y-%m-%dT%H:%M:%S}" if end else "",
            new_zone=form.get("new_zone", zone.key),
            zones=zone_names(),
            **shown_in(zone),
        )

    async def _do(self, request: Request, run: OverrideRun, action: str, deed: Callable[..., Override]) -> Response:
        """Do it once; what takes longer, since changes are being made, goes on while its page is shown."""
        override = run.override
        deed_at_work, _ = self.doing(override)
        if not deed_at_work:
            act = partial(deed, self._pages.engine, override.workflow_id, by=current_user())
            task = asyncio.create_task(anyio.to_thread.run_sync(act))
            self._deeds[override.workflow_id] = _Deed(task, action, (override.state, override.end), time.monotonic())
            await asyncio.wait([task], timeout=_DONE_WITHIN_SECONDS)
        return RedirectResponse(_url(run, request), 303)

    def doing(self, override: Override) -> tuple[str | None, str | None]:
        """What is being done to an override, or what was and why it could not be."""
        deed = self._deeds.get(override.workflow_id)
        if deed is None:
            return None, None
        if deed.task.done():
            try:
                deed.task.result()
            except EngineError as exc:
                return None, None if override.ended else str(exc)
        waiting = deed.before == (override.state, override.end) and time.monotonic() < deed.at + _SEEN_WITHIN_SECONDS
        return (deed.action if waiting or not deed.task.done() else None), None


def reason_of(form: Mapping[str, str]) -> str:
    """The reason that a person has given."""
    return form.get("reason", "").strip()[:_TEXT_LIMIT]


def field_problem(problem: Problem) -> str:
    """What is wrong, in the words of a page: its fields are the command's options."""
    return re.sub(r"--(?=[a-z])", "", problem.message)


def actions_of(run: OverrideRun) -> list[str]:
    """What a person can do with an override."""
    if run.override.left_behind and run.overridden:
        return ["end"]
    return [action for action, states in STATES.items() if run.override.state in states]


def refused(run: OverrideRun, request: Request) -> str | None:
    """Why what a person wanted was not done: the override was in another state by then."""
    action = request.query_params.get("refused")
    if action not in STATES or action in actions_of(run):
        return None
    return f"Nothing was done. {control.impossible(run.override, action)}"


def _url(run: OverrideRun, request: Request) -> str:
    zone, _ = chosen_zone(request)
    return f"{override_path(run.override)}?{urlencode({'zone': zone.key})}"
