"""Choosing a field's id by name: which list a field chooses from, and the part of it that a text leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dialpad_ivr.console.forms import fields, filled_in, task_input
from dialpad_ivr.console.lists import Lists, Wanted
from dialpad_ivr.console.pages import Pages, read_form
from dialpad_ivr.contract.outputs import FieldError, FoundIvr, FoundTarget
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.contract.targets import LISTED_TYPES, PLURALS
from dialpad_ivr.contract.validation import alternatives, check_input
from dialpad_ivr.tasks.names import WILDCARD, with_name

_SHOWN = 50  # of a list; more letters of the name lead to the others
_FILTER_LIMIT: Final = 200  # characters

# The fields that choose from a list, each with those that say from which.
_NEEDED: Final = {
    "office": ("credential",),
    "target_id": ("target_type", "credential"),
    "ivr_id": ("target_type", "target_id", "ivr_type", "credential"),
}


def chosen_fields(task_type: str) -> frozenset[str]:
    """The fields of a task's form whose value can be chosen by name."""
    return frozenset(_NEEDED) & {field.name for field in fields(task_type)}


class Choices:
    """The lists to choose from, and the names of what was chosen."""

    def __init__(self, pages: Pages, lists: Lists) -> None:
        self._pages = pages
        self._lists = lists

    async def choices(self, request: Request) -> Response:
        """What a field can be set to, by name, as the form is filled in now."""
        task_type, field = request.path_params["task_type"], request.path_params["field"]
        if task_type not in INPUTS or field not in chosen_fields(task_type):
            raise HTTPException(404, "Nothing to choose from.")
        form = await read_form(request)
        payload = task_input(task_type, filled_in(task_type, form))
        context = {"field": field, "what": _what(field, payload), "found": None, "items": [], "total": 0}
        problem = _problem(task_type, field, payload)
        if problem is None:
            # What is selected may have changed since the list was opened last; who is there, hardly.
            anew = field == "ivr_id" and "opening" in form
            found = await self._lists.read(_wanted(field, payload), anew=anew)
            items = matching(found.items, form.get("filter", "")[:_FILTER_LIMIT])
            context |= {"found": found, "items": items[:_SHOWN], "total": len(items)}
            problem = found.problem
        return self._pages.page(request, "choices", problem=problem, **context)

    def names(self, task_type: str, payload: Mapping[str, Any]) -> dict[str, FoundTarget | FoundIvr]:
        """What lists that were read before say of the ids in a form. Nothing is read."""
        return {
            field: known
            for field in chosen_fields(task_type)
            if field in payload
            and _problem(task_type, field, payload) is None
            and (known := self._known(field, payload)) is not None
        }

    def _known(self, field: str, payload: Mapping[str, Any]) -> FoundTarget | FoundIvr | None:
        id_ = str(payload[field])
        known = self._lists.known(_wanted(field, payload), id_)
        if known is None and field == "ivr_id":  # perhaps in the list of all slots
            known = self._lists.known(_wanted(field, {**payload, "ivr_type": None}), id_)
        return known


def matching(
    items: Sequence[FoundTarget | FoundIvr], text: str, *, office: str = ""
) -> Sequence[FoundTarget | FoundIvr]:
    """Those whose name, office, slot or id contains every word of a text; those whose name begins with it come first.

    Args:
        items: A list.
        text: The words, in upper or lower case; or a name with wildcards, as the commands take it.
        office: Words of the office's name, or its id.
    """
    words, office_words = text.casefold().split(), office.casefold().split()
    if office_words:
        items = [item for item in items if _contains(_office_of(item), office_words)]
    if WILDCARD in text:
        return with_name(text, items, lambda item: item.name)[0]
    found = [item for item in items if _contains(_searched(item), words)]
    beginning = " ".join(words)
    return sorted(found, key=lambda item: not (item.name or "").casefold().startswith(beginning)) if words else found


def _contains(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _searched(item: FoundTarget | FoundIvr) -> str:
    more = item.ivr_type if isinstance(item, FoundIvr) else item.office.name if item.office else None
    return f"{item.name or ''}\n{more or ''}\n{item.id}".casefold()


def _office_of(item: FoundTarget | FoundIvr) -> str:
    office = item.office if isinstance(item, FoundTarget) else None
    return f"{office.name or ''}\n{office.id}".casefold() if office else ""


def _wanted(field: str, payload: Mapping[str, Any]) -> Wanted:
    credential = payload.get("credential", "default")
    if field == "office":
        return Wanted(credential, "office")
    if field == "target_id":
        return Wanted(credential, payload["target_type"])
    return Wanted(credential, payload["target_type"], payload["target_id"], payload.get("ivr_type"))


def _what(field: str, payload: Mapping[str, Any]) -> str:
    """What is listed, in words."""
    if field == "ivr_id":
        return "IVRs"
    return PLURALS.get("office" if field == "office" else str(payload.get("target_type")), "targets")


def _problem(task_type: str, field: str, payload: Mapping[str, Any]) -> str | None:
    """Why there is no list to choose from: a field that it depends on, or a type that has none."""
    params = check_input(payload, INPUTS[task_type])
    for error in params if isinstance(params, list) else ():
        if error.path in _NEEDED[field] and not (error.path == "ivr_type" and "ivr_type" not in payload):
            return described(error)
    if field == "target_id" and payload["target_type"] not in LISTED_TYPES:
        return no_list(payload["target_type"])
    return None


def described(error: FieldError) -> str:
    """A violation, and what to do."""
    return f"{error.message} {alternatives(error.suggestion, ()) or error.hint}".rstrip()


def no_list(target_type: str) -> str:
    """Why a type's targets cannot be listed."""
    return f"Dialpad documents no list of targets of type {target_type}."
