"""The pages of overrides: those on, planned, not restored and past; and one, with what a person can do with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dialpad_ivr.console.override_actions import OverrideActions, actions_of, override_path, refused
from dialpad_ivr.console.pages import Pages
from dialpad_ivr.console.run_pages import REPORTS
from dialpad_ivr.console.zones import chosen_zone, shown_in, zone_names
from dialpad_ivr.engine.api import EngineError, unless_missing
from dialpad_ivr.provisioning.override_page import POLICY, report_page
from dialpad_ivr.provisioning.override_report import OverrideRun
from dialpad_ivr.provisioning.override_text import (
    decision_texts,
    late_text,
    not_told_text,
    row_texts,
    run_text,
    slots_text,
    state_text,
)
from dialpad_ivr.provisioning.overrides import WORKFLOW, Override, read_override, running_overrides
from dialpad_ivr.provisioning.times import milliseconds

_LISTED = 50  # of the most recently started, those that have ended
_ROWS_SHOWN = 100  # on a page


@dataclass(frozen=True)
class Listed:
    """An override in the list: with the number of its slots in place of them.

    Attributes:
        section: `active`, `planned`, `left` or `past`.
        due: When it next changes by itself, in milliseconds since 1970; `None` if a person must act.
    """

    workflow_id: str
    section: str
    state: str
    start: datetime
    end: datetime | None
    slots: int
    targets: str
    reason: str
    requested_by: str
    due: int | None
    ended_at: datetime | None


class OverridePages:
    """Overrides."""

    def __init__(self, pages: Pages, actions: OverrideActions) -> None:
        self._pages = pages
        self._past: dict[str, Listed] = {}  # of which nothing is left, so that they stay as they are
        self._actions = actions
        self._reading = anyio.CapacityLimiter(1)  # a page that is polled must not keep the engine busy

    async def overrides(self, request: Request) -> Response:
        """The overrides, and a field for the zone of their times."""
        zone, wrong_zone = chosen_zone(request)
        problem, found = None, []
        try:
            found = await anyio.to_thread.run_sync(self._list, limiter=self._reading)
        except EngineError as exc:
            problem = str(exc)
        return self._pages.page(
            request,
            "overrides",
            found=found,
            problem=problem,
            due=min((each.due for each in found if each.due), default=None),
            zones=zone_names(),
            wrong_zone=wrong_zone,
            **shown_in(zone),
        )

    def _list(self) -> list[Listed]:
        engine = self._pages.engine
        found = [_listed(each) for each in running_overrides(engine)]
        running = {each.workflow_id for each in found}
        past: dict[str, Listed] = {}
        # By what the engine's store says of each, since its index learns of an end a moment later.
        for workflow_id in (summary["workflowId"] for summary in engine.newest(WORKFLOW, _LISTED)):
            if workflow_id in running:
                continue
            each = self._past.get(workflow_id) or self._ended(workflow_id)
            if each is None:
                continue
            found.append(each)
            if each.section == "past":
                past[workflow_id] = each
        self._past = past
        return found

    def _ended(self, workflow_id: str) -> Listed | None:
        override = unless_missing(read_override, self._pages.engine, workflow_id)
        if override is None:
            return None
        if not override.left_behind:
            return _listed(override, "past")
        run = OverrideRun(self._pages.engine, override)
        return _listed(override, "left" if run.overridden else "past", run_text(run))

    async def override(self, request: Request) -> Response:
        """An override: its window, its slots, and both halves row by row."""
        await self._pages.connection()
        zone, _ = chosen_zone(request)
        try:
            run = await self._actions.read_run(request)
        except HTTPException as exc:
            if "x-part" not in request.headers or exc.status_code == 404:
                raise
            again = f"{request.url.path}?{request.url.query}"  # a page that is open stays, and asks again
            return self._pages.page(request, "override", run=None, problem=exc.detail, again=again)
        rows = run.worst_first
        pages = max(1, -(-len(rows) // _ROWS_SHOWN))
        asked = request.query_params.get("page", "")
        page = min(int(asked), pages) if re.fullmatch("[1-9][0-9]{0,3}", asked) else 1
        first = (page - 1) * _ROWS_SHOWN
        doing, not_done = self._actions.doing(run.override)
        return self._pages.page(
            request,
            "override",
            run=run,
            override=run.override,
            state=run_text(run),
            url=override_path(run.override),
            actions=[] if doing else actions_of(run),
            doing=doing,
            not_done=not_done or refused(run, request),
            refused=request.query_params.get("refused", ""),
            due=None if doing else _due(run.override),
            rows=rows[first : first + _ROWS_SHOWN],
            first=first + 1,
            page=page,
            pages=pages,
            not_told_text=not_told_text,
            late_text=late_text,
            row_texts=row_texts,
            decisions=[decision_texts(each, zone) for each in run.override.decisions],
            **shown_in(zone),
        )

    async def report(self, request: Request) -> Response:
        """The report as a page that can be printed. It brings its own style, as it does where it is a file."""
        run = await self._actions.read_run(request)
        zone, _ = chosen_zone(request)
        page = report_page(run, zone, datetime.now(timezone.utc))
        return HTMLResponse(page, headers={"content-security-policy": f"{POLICY}; frame-ancestors 'none'"})

    async def report_file(self, kind: str, request: Request) -> Response:
        """The report as a file."""
        run = await self._actions.read_run(request)
        name = re.sub(r"[^\w-]", "", run.override.workflow_id, flags=re.ASCII)[:8]
        disposition = f'attachment; filename="override.{name}.report.{kind}"'
        content = run.csv() if kind == "csv" else run.json()
        return Response(content, media_type=REPORTS[kind], headers={"content-disposition": disposition})


def _due(override: Override) -> int | None:
    """When an override next changes by itself."""
    at = {"planned": override.start, "approval": override.end, "active": override.end}.get(override.state)
    return milliseconds(at) if at else None


def _listed(override: Override, section: str = "", state: str = "") -> Listed:
    return Listed(
        override.workflow_id,
        section or ("planned" if override.state in ("approval", "planned") else "active"),
        state or state_text(override),
        override.start,
        override.end,
        len(override.changes),
        slots_text(override),
        override.reason,
        override.requested_by,
        _due(override),
        override.ended_at,
    )
