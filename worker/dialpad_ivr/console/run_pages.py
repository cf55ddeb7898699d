"""The pages of provisioning runs: the newest ones, and one with its progress, its changes, its report and its stop."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dialpad_ivr.console.pages import Pages, digest, read_form
from dialpad_ivr.engine.api import TERMINAL_STATUSES, EngineError, current_user, unless_missing
from dialpad_ivr.provisioning.report import report_csv, report_json, report_rows
from dialpad_ivr.provisioning.run import NO_RESULT
from dialpad_ivr.provisioning.workflow import WORKFLOW, ChangeResult, ProvisioningRun, stop

REPORTS: Final = {"json": "application/json", "csv": "text/csv"}
"""The kinds of report, and the media type of each."""

_RUNS_CACHED = 16  # that are read incrementally
_RUNS_LISTED = 10
_ROWS_SHOWN = 100  # on a page


class Progress(NamedTuple):
    """How many of a run's changes have which state. The rest has no result."""

    total: int
    succeeded: int
    failed: int
    at_work: int
    waiting: int


@dataclass(frozen=True)
class RunSummary:
    """A run in the list.

    Attributes:
        source: The file that its changes came from; empty if unknown.
        changes: Their number.
        message: The result in one sentence; empty if there is none.
        started_at: Milliseconds since 1970.
        ended_at: Milliseconds since 1970; 0 while running.
    """

    workflow_id: str
    status: str
    source: str
    changes: int
    message: str
    started_at: int
    ended_at: int

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in TERMINAL_STATUSES


class RunPages:
    """Provisioning runs."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._runs: dict[str, ProvisioningRun] = {}
        self._summaries: dict[str, RunSummary] = {}  # of the listed runs that have ended
        self._stops: dict[str, asyncio.Task[None]] = {}
        self._reading = anyio.CapacityLimiter(1)  # a run is not thread-safe: one thread reads at a time

    async def runs(self, request: Request) -> Response:
        """Recent provisioning runs, and a field to open any other by id."""
        workflow_id = request.query_params.get("id", "").strip()
        if workflow_id:
            return RedirectResponse(_path(workflow_id), 303)
        problem, runs = None, []
        try:
            runs = await anyio.to_thread.run_sync(self._newest, limiter=self._reading)
        except EngineError as exc:
            problem = str(exc)
        return self._pages.page(request, "runs", runs=runs, problem=problem)

    def _newest(self) -> list[RunSummary]:
        ids = [found["workflowId"] for found in self._pages.engine.newest(WORKFLOW, _RUNS_LISTED)]
        found = [self._summaries.get(id_) or unless_missing(self._summary, id_) for id_ in ids]
        runs = [run for run in found if run]
        self._summaries = {run.workflow_id: run for run in runs if run.ended}
        return runs

    def _summary(self, workflow_id: str) -> RunSummary:
        workflow = self._pages.engine.workflow(workflow_id, tasks=False)
        inputs, output = workflow.get("input") or {}, workflow.get("output") or {}
        changes, plan = inputs.get("changes"), inputs.get("plan")
        message = str(output.get("message") or "")
        if not message:  # it runs, or ended early: its changes have to be counted
            run = self._run(workflow_id)
            run.refresh()
            more = "Waits for approval." if run.waits_for_approval else workflow.get("reasonForIncompletion") or ""
            message = f"{run.summary} {more}".rstrip()
        return RunSummary(
            workflow_id,
            workflow["status"],
            str(plan.get("source") or "") if isinstance(plan, dict) else "",
            len(changes) if isinstance(changes, list) else 0,
            message,
            workflow.get("startTime") or 0,
            workflow.get("endTime") or 0,
        )

    async def run(self, request: Request) -> Response:
        """A provisioning run: progress, counts by outcome, and its changes, failed ones first."""
        await self._pages.connection()
        run, error = await self._read(request.path_params["workflow_id"])
        not_found = error is not None and not error.transient
        rows = sorted(run.rows, key=_rank)
        pages = max(1, -(-len(rows) // _ROWS_SHOWN))
        asked = request.query_params.get("page", "")
        page = min(int(asked), pages) if re.fullmatch("[1-9][0-9]{0,3}", asked) else 1
        first = (page - 1) * _ROWS_SHOWN
        stopping, not_stopped = self._stopping(run.workflow_id)
        return self._pages.page(
            request,
            "run",
            404 if not_found else 200,
            run=run,
            url=_path(run.workflow_id),
            problem=str(error) if error else None,
            not_found=not_found,
            stopping=stopping,
            not_stopped=not_stopped,
            progress=_progress(run),
            rows=rows[first : first + _ROWS_SHOWN],
            first=first + 1,
            page=page,
            pages=pages,
        )

    async def report(self, kind: str, request: Request) -> Response:
        """The run's report as a file: all its changes."""
        run = await self._read_or_fail(request)
        name = re.sub(r"[^\w-]", "", run.workflow_id, flags=re.ASCII)[:8]
        rows = report_rows(run)
        content = report_csv(rows) if kind == "csv" else report_json(run, rows)
        disposition = f'attachment; filename="provisioning.{name}.report.{kind}"'
        return Response(content, media_type=REPORTS[kind], headers={"content-disposition": disposition})

    async def stop(self, request: Request) -> Response:
        """Stop a run: at first the question, then, confirmed, the deed. It takes as long as the changes at work."""
        form = await read_form(request)
        run = await self._read_or_fail(request)
        confirmation = digest("stop", run.workflow_id)
        if not run.ended and form.get("confirmed") != confirmation:
            return self._pages.page(
                request, "stop", run=run, url=_path(run.workflow_id), progress=_progress(run), confirmation=confirmation
            )
        stopping, _ = self._stopping(run.workflow_id)
        if not run.ended and not stopping:
            deed = partial(stop, self._pages.engine, run.workflow_id, by=current_user())
            self._stops[run.workflow_id] = asyncio.create_task(anyio.to_thread.run_sync(deed))
        return RedirectResponse(_path(run.workflow_id), 303)

    def _stopping(self, workflow_id: str) -> tuple[bool, str | None]:
        """Whether a run is being stopped, and why it could not be."""
        task = self._stops.get(workflow_id)
        if task is None or not task.done():
            return task is not None, None
        try:
            task.result()
        except EngineError as exc:
            return False, None if exc.status == 409 else str(exc)  # 409: it had ended, and its page says how
        return False, None

    async def _read_or_fail(self, request: Request) -> ProvisioningRun:
        run, error = await self._read(request.path_params["workflow_id"])
        if error:
            raise _failed(error)
        return run

    async def _read(self, workflow_id: str) -> tuple[ProvisioningRun, EngineError | None]:
        """The run as of now; with an error, as far as it was read before."""
        run = self._run(workflow_id)
        try:
            await anyio.to_thread.run_sync(run.refresh, limiter=self._reading)
        except EngineError as exc:
            return run, exc
        return run, None

    def _run(self, workflow_id: str) -> ProvisioningRun:
        """A run as it was read before, if it is among the last ones."""
        run = self._runs.pop(workflow_id, None) or ProvisioningRun(self._pages.engine, workflow_id)
        self._runs[workflow_id] = run
        if len(self._runs) > _RUNS_CACHED:
            del self._runs[next(iter(self._runs))]
        return run


def _path(workflow_id: str) -> str:
    return f"/provisioning/{quote(workflow_id, safe='')}"


def _failed(error: EngineError) -> HTTPException:
    return HTTPException(503 if error.transient else 404, str(error))


def _rank(row: ChangeResult) -> int:
    """Failed changes first, then those without a result, those pending, those that succeeded."""
    if row.outcome is None:
        return 2
    return 3 if row.ok else 1 if row.outcome in NO_RESULT else 0


def _progress(run: ProvisioningRun) -> Progress:
    ranks = [_rank(row) for row in run.rows]
    pending = ranks.count(2)
    at_work = min(run.in_flight, pending)
    return Progress(len(ranks), ranks.count(3), ranks.count(0), at_work, pending - at_work)
