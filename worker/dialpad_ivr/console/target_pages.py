"""The page of targets: those of a type, by office and name; each leads to its IVRs and to the form that sets one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from dialpad_ivr.console.choices import described, matching, no_list
from dialpad_ivr.console.lists import Lists, NamedList, Wanted
from dialpad_ivr.console.pages import Pages
from dialpad_ivr.contract.inputs import ListTargetsInput
from dialpad_ivr.contract.outputs import FieldError, FoundIvr, FoundTarget
from dialpad_ivr.contract.targets import LISTED_TYPES, PLURALS
from dialpad_ivr.contract.validation import check_input
from dialpad_ivr.contract.values import TARGET_TYPES
from dialpad_ivr.tasks.names import did_you_mean

_SHOWN = 50  # on a page
_TEXT_LIMIT = 200  # characters of a filter


class TargetPages:
    """The page of targets."""

    def __init__(self, pages: Pages, lists: Lists) -> None:
        self._pages = pages
        self._lists = lists

    async def targets(self, request: Request) -> Response:
        """The targets of a type. They are read when the address names one, unless another site has led there."""
        names = ("target_type", "office", "name", "credential")
        chosen = {name: request.query_params.get(name, "").strip()[:_TEXT_LIMIT] for name in names}
        target_type, found = chosen["target_type"], NamedList()
        problem, credential = _problem(target_type, chosen["credential"]) if target_type else None, chosen["credential"]
        if isinstance(problem, FieldError):
            if problem.path == "credential":
                chosen["credential"] = ""  # may be a key pasted by mistake: do not echo it
            problem = described(problem)
        # Of another site's page, a link or a picture must not spend the company's rate.
        opened = bool(target_type) and request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if opened and problem is None:
            wanted = Wanted(credential or "default", target_type)
            found = await self._lists.read(wanted, anew="anew" in request.query_params)
            problem = found.problem
        in_office = matching(found.items, "", office=chosen["office"])
        items = matching(in_office, chosen["name"])
        pages = max(1, -(-len(items) // _SHOWN))
        requested = request.query_params.get("page", "")
        page = min(int(requested), pages) if re.fullmatch("[1-9][0-9]{0,3}", requested) else 1
        first = (page - 1) * _SHOWN
        return self._pages.page(
            request,
            "targets",
            types=TARGET_TYPES,
            chosen=chosen,
            opened=opened,
            url=f"/targets?{urlencode({name: value for name, value in chosen.items() if value})}",
            what=PLURALS.get(target_type, "targets"),
            problem=problem,
            found=found,
            items=items[first : first + _SHOWN],
            first=first + 1,
            total=len(items),
            hint="" if items else _hint(found.items, in_office, chosen),
            page=page,
            pages=pages,
            of_no_office=sum(isinstance(item, FoundTarget) and item.office is None for item in found.items),
            dialpad=self._pages.tools.settings.api_url,
        )


def _hint(
    items: Sequence[FoundTarget | FoundIvr], in_office: Sequence[FoundTarget | FoundIvr], chosen: Mapping[str, str]
) -> str:
    """What was perhaps meant, where nothing matches."""
    if in_office:
        return did_you_mean(chosen["name"], (item.name for item in in_office))
    offices = (item.office.name for item in items if isinstance(item, FoundTarget) and item.office)
    return did_you_mean(chosen["office"], offices)


def _problem(target_type: str, credential: str) -> FieldError | str | None:
    """Why these targets cannot be listed; `None` if they can."""
    unlisted = target_type in TARGET_TYPES and target_type not in LISTED_TYPES
    payload = {"target_type": LISTED_TYPES[0] if unlisted else target_type}
    params = check_input(payload | ({"credential": credential} if credential else {}), ListTargetsInput)
    if isinstance(params, list):
        return params[0]
    return no_list(target_type) if unlisted else None
