"""What people read of an override, on a terminal, on a page and in a report."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, tzinfo
from typing import Final

from dialpad_ivr.contract.validation import short
from dialpad_ivr.provisioning.override_decisions import Decision
from dialpad_ivr.provisioning.override_notify import Notification
from dialpad_ivr.provisioning.override_report import OverriddenRow, OverrideRun
from dialpad_ivr.provisioning.overrides import Override
from dialpad_ivr.provisioning.times import Window, zone_text

OPEN_END: Final = "until it is ended"
_STATES: Final = {
    "approval": "waits for approval",
    "broken_off": "broken off",
    "cancelled": "canceled",
    "not_approved": "not approved",
    "not_restored": "not restored",
}


def state_text(override: Override) -> str:
    """Its state, or once it has ended its outcome, and how many changes were not made."""
    text = _STATES.get(override.state, override.state.replace("_", " ")) + (", overdue" if override.overdue else "")
    return text + _not_made(override.not_made, override)


def run_text(run: OverrideRun) -> str:
    """The same, with what has become of it since."""
    if not (run.override.left_behind and run.restored_by) or run.left:
        return state_text(run.override)
    by_hand = run.settled == run.restored.total()
    return ("settled by hand" if by_hand else "restored since") + _not_made(run.not_made, run.override)


def _not_made(count: int, override: Override) -> str:
    return f", {count} of {len(override.changes)} not made" if count else ""


def row_texts(row: OverriddenRow, override: Override) -> list[str]:
    """What there is to say of both halves of a change, and what to do where a slot cannot be restored any more."""
    restored = row.restored_message
    if row.settled:
        restored = "Settled by hand: a person has set this slot since."
    elif row.gone and override.ended:
        before = f"{short(row.previous_name)} ({row.previous})" if row.previous_name else row.previous
        restored = (
            f"The IVR that was selected before, {before}, is gone, unless the target itself is. Select another one "
            "with dialpad-ivr plan and dialpad-ivr apply of a file with this slot, then run: dialpad-ivr override end "
            f"{override.workflow_id}. The slot then counts as settled by hand."
        )
    return [text for text in (row.made_message, restored) if text]


_DECISIONS: Final = {
    "approve": "Approved",
    "reject": "Rejected",
    "extend": "Extended",
    "end": "Ended early",
    "cancel": "Canceled",
}


def decision_texts(decision: Decision, zone: tzinfo) -> tuple[str, str]:
    """For instance "Approved" and "2026-12-24 18:00 +01:00 by ann@desk: checked"."""
    at = zone_text(decision.at, zone) if decision.at else ""
    by = f" by {short(decision.by)}" if decision.by else ""
    until = zone_text(decision.until, zone) if decision.until else OPEN_END.removeprefix("until ")
    to = f", until {until}" if decision.action == "extend" else ""
    reason = f": {short(decision.reason)}" if decision.reason else ""
    return _DECISIONS[decision.action], f"{at}{by}{to}{reason}".strip()


def late_text(at: datetime, late: float | None, zone: tzinfo) -> str:
    """When something was done, and how late that was, from a second on: "2026-12-27 08:00:12 +01:00, 12 s late"."""
    minutes, seconds = divmod(int(late or 0), 60)
    hours, minutes = divmod(minutes, 60)
    lengths = ((hours, "h"), (minutes, "min"), (0 if hours else seconds, "s"))
    length = " ".join(f"{number} {unit}" for number, unit in lengths if number)
    return f"{zone_text(at, zone)}, {length} late" if length else zone_text(at, zone)


def history_texts(run: OverrideRun, zone: tzinfo) -> list[tuple[str, str]]:
    """What people decided and when each half was done, each with its name; what is not known is empty."""
    ended_at = run.override.ended_at
    return [
        *(decision_texts(each, zone) for each in run.override.decisions),
        ("Began", late_text(run.began_at, run.began_late, zone) if run.began_at else ""),
        ("Restored from", late_text(run.restoring_at, run.restoring_late, zone) if run.restoring_at else ""),
        ("Ended", zone_text(ended_at, zone) if ended_at else ""),
    ]


def slots_text(override: Override) -> str:
    """For instance "12 callcenters, 1 office: HOLD_MUSIC, GREETING"."""
    targets = Counter(
        kind for kind, _ in {(each.get("target_type"), each.get("target_id")) for each in override.changes}
    )
    slots = sorted({str(each.get("ivr_type")) for each in override.changes})
    counted = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in targets.most_common())
    return f"{counted}: {', '.join(slots[:3])}{' ...' if len(slots) > 3 else ''}"


def not_told_text(notification: Notification, zone: tzinfo) -> str:
    """That people were not told, why, and what to do."""
    half = "start" if notification.half == "made" else "end"
    what = f"People were not told about the {half} of this override"
    when = f", as of {zone_text(notification.at, zone)}" if notification.at else ""
    text = f"{what}{when}. {notification.message.rstrip('.')}. Tell them yourself."
    run = notification.workflow_id
    return f"{text} Once that is fixed, restart workflow {run} on the engine to send it." if run else text


def window_text(window: Window) -> str:
    """A window in its zone."""
    begin = zone_text(window.start, window.zone) if window.start else "now"
    end = f"until {zone_text(window.end, window.zone)}" if window.end else OPEN_END
    return f"From {begin} {end} ({window.zone.key})"
