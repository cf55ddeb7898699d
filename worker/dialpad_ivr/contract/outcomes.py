"""The outcomes of a task, in the three groups that decide the task status, and what each means."""

from __future__ import annotations

from typing import Final, Literal, get_args

from dialpad_ivr.contract.values import TASK_TYPE

OkOutcome = Literal["updated", "unchanged", "planned", "valid", "listed"]


TerminalOutcome = Literal["invalid_input", "unauthorized", "forbidden", "not_found", "conflict", "rejected"]


RetriedOutcome = Literal["rate_limited", "unavailable", "unconfirmed"]


Outcome = Literal[OkOutcome, TerminalOutcome, RetriedOutcome]


OK_OUTCOMES: Final[tuple[str, ...]] = get_args(OkOutcome)


TERMINAL_OUTCOMES: Final[tuple[str, ...]] = get_args(TerminalOutcome)


RETRIED_OUTCOMES: Final[tuple[str, ...]] = get_args(RetriedOutcome)


OUTCOMES: Final[tuple[str, ...]] = (*OK_OUTCOMES, *TERMINAL_OUTCOMES, *RETRIED_OUTCOMES)


_OF_A_CHANGE: Final = ("updated", "unchanged", "planned", "valid", "unconfirmed")


def outcomes_of(task_type: str) -> tuple[str, ...]:
    """The outcomes with which a task can end, in the order of `OUTCOMES`."""
    others = ("listed",) if task_type == TASK_TYPE else _OF_A_CHANGE
    return tuple(outcome for outcome in OUTCOMES if outcome not in others)


OUTCOME_MEANINGS: Final[dict[str, str]] = {
    "updated": "Dialpad answered 200 and shows the IVR selected, or shows nothing to the contrary.",
    "unchanged": "Plan mode, or with if_selected: the IVR alone is selected already; nothing was sent.",
    "planned": "Plan mode: the change would be made; nothing was written.",
    "valid": "Validate mode: the input is valid; nothing was sent.",
    "listed": "list_custom_ivrs, list_targets: the list was read; if one was looked for, exactly one was found.",
    "invalid_input": "The input does not match the schema; nothing was sent. error.field_errors lists every violation.",
    "unauthorized": "No key was found for the credential profile, or Dialpad answered 401.",
    "forbidden": "Dialpad answered 403: the key is valid but may not do this.",
    "not_found": "Dialpad answered 404: no such target or IVR; or a list holds nothing of that name.",
    "conflict": "Dialpad answered 409; or another IVR is selected than if_selected says, and nothing was sent; or "
    "a list holds several of that name.",
    "rejected": "Dialpad refused the request otherwise (another 4xx, or a redirect).",
    "rate_limited": "The waiting budget ran out before Dialpad's rate limit let the request through.",
    "unavailable": "Dialpad could not be reached, did not answer in time, or answered 5xx or 408.",
    "unconfirmed": "The request was sent, but nothing shows that the change was made.",
}
