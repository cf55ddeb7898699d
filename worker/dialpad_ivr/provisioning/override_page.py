"""The report of an override as a page that can be printed: it stands alone, has no script, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import Final
from zoneinfo import ZoneInfo

from dialpad_ivr import __version__
from dialpad_ivr.provisioning.override_report import OverriddenRow, OverrideRun
from dialpad_ivr.provisioning.override_text import (
    OPEN_END,
    history_texts,
    not_told_text,
    row_texts,
    run_text,
)
from dialpad_ivr.provisioning.overrides import Override
from dialpad_ivr.provisioning.times import zone_text

_STYLE: Final = """
body { margin: 0; background: #fff; color: #1d1b26; font: 14px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 1.2rem 1.5rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 1.2rem 0 .3rem; }
.result { margin: 0 0 .8rem; font-weight: 600; overflow-wrap: anywhere; }
.warning { margin: 0 0 .8rem; color: #a3172b; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dt { color: #5a5768; }
dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
.rows { width: 100%; min-width: 40rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid #d9d7e3; }
th { font-weight: 400; }
thead th { color: #5a5768; font-size: .85rem; }
tbody th { overflow-wrap: anywhere; }
small { color: #5a5768; }
tbody span { white-space: nowrap; }
.left td, .left th { background: #fde6e8; }
tr:has(+ .detail) > * { border-bottom: 0; break-after: avoid; }
.detail td { padding-top: 0; }
.left b { color: #a3172b; }
.foot { color: #5a5768; margin-top: 1.2rem; }
@page { margin: 14mm; }
@media print {
  body { font-size: 9.5pt; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  .rows { min-width: 0; font-size: 8pt; }
  .rows :is(th, td) { padding: .2rem .35rem; }
  thead { display: table-header-group; }
  tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .left td, .left th { print-color-adjust: exact; }
}
"""
_TEMPLATE: Final = Template(Path(__file__).with_name("override_report.html").read_text("utf-8"))

POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
"""Its content security policy: its own style, and nothing else."""


def report_page(run: OverrideRun, zone: ZoneInfo, now: datetime) -> str:
    """The report as HTML.

    Args:
        run: The override with both halves.
        zone: The zone of its times.
        now: When it was read.
    """
    override = run.override
    message = run.message or ""
    count = f"{len(run.rows)} row{'' if len(run.rows) == 1 else 's'}"
    worst = ((run.left, "not restored"), (run.not_made, "not made"))
    worst_text = ", ".join(f"{number} {what}" for number, what in worst if number)
    left = f"{count}, {worst_text}, which come first" if worst_text else count
    return _TEMPLATE.substitute(
        policy=POLICY,
        style=_STYLE,
        id=escape(override.workflow_id),
        title=_named(override.reason) or "no reason",
        result=escape(f"{run_text(run).capitalize()}. {message}".strip()),
        not_told="\n".join(f'<p class="warning">{_named(not_told_text(each, zone))}</p>' for each in run.not_told),
        facts="\n".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in _facts(run, zone)),
        counts="\n".join(_counts(run)),
        heading=f"Both halves: {left}",
        rows="\n".join(_row(row, override) for row in run.worst_first),
        foot=escape(f"Read {zone_text(now, zone)} ({zone.key}) by dialpad-ivr {__version__}. Override ")
        + f"<code>{escape(override.workflow_id)}</code>.",
    )


def _facts(run: OverrideRun, zone: ZoneInfo) -> list[tuple[str, str]]:
    """Who, when and why, as HTML; what is not known is left out."""
    override = run.override
    found = [
        ("Requested by", override.requested_by),
        ("Reason", override.reason),
        ("Planned from", zone_text(override.start, zone)),
        ("Planned until", zone_text(override.end, zone) if override.end else OPEN_END),
        *history_texts(run, zone),
        ("Nested in", override.inside),
        ("People are told by", override.notify),
        ("Restored by workflow", run.restored_by),
        ("To restore what is left", f"dialpad-ivr override end {override.workflow_id}" if run.overridden else None),
    ]
    return [(name, _named(str(text))) for name, text in found if text]


def _counts(run: OverrideRun) -> Iterable[str]:
    for half, counts in (("made", run.made), ("restored", run.restored)):
        for outcome, count in counts.most_common():
            yield f'<tr><th scope="row">{half}</th><td>{escape(outcome)}</td><td>{count}</td></tr>'


def _row(row: OverriddenRow, override: Override) -> str:
    """The row, and below it the messages of both halves: beside it they would make it too wide for paper."""
    left = row.left and override.ended
    cells = (
        escape(f"{row.ivr_type} {row.select_option or ''}".rstrip()).replace("_", "_<wbr>"),
        _with_id(row.ivr_name, row.ivr_id),
        _with_id(row.previous_name, row.previous),
        escape(row.made or "pending"),
        "<br>".join((["<b>not restored</b>"] if left else []) + ([escape(row.restored)] if row.restored else [])),
    )
    name = f"{row.target_name}, {row.office_name}" if row.office_name else row.target_name
    target = _with_id(name, row.target_id, row.target_type)
    texts = "".join(f"<td>{cell}</td>" for cell in cells)
    kind = "left" if left or row.not_made else ""
    messages = [_named(text) for text in row_texts(row, override)]
    below = f'<tr class="{kind} detail"><td></td><td colspan="6">{"<br>".join(messages)}</td></tr>' if messages else ""
    return f'<tr class="{kind}"><td>{row.line or ""}</td><th scope="row">{target}</th>{texts}</tr>{below}'


def _with_id(name: str, number: str, kind: str = "") -> str:
    kind, number = escape(kind), escape(number)
    with_kind = f"{kind} <span>{number}</span>".strip()
    return f"{_named(name)}<br><small>{with_kind}</small>" if name else with_kind


def _named(text: str) -> str:
    """A text from outside, which cannot turn the text around it."""
    return f"<bdi>{escape(text)}</bdi>" if text else ""
