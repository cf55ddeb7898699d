"""The documented calls, prepared but not sent: one method for each. Ids are strings of digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from dialpad_ivr.contract.targets import LIST_PATHS, NUMBER_PATH, OFFICE_LIST_PATHS, OFFICES_PATH
from dialpad_ivr.contract.values import LIST_PATH, PATCH_PATH


@dataclass(frozen=True)
class Request:
    """A prepared request, without a credential.

    Attributes:
        template: The documented path, with names in place of ids.
    """

    method: str
    url: str
    template: str
    body: dict[str, Any] | None = None


class Calls:
    """Prepares the calls to one host.

    A list answers a page; `cursor` is that of the page before.

    Args:
        base: The host's URL, without a slash at its end.
    """

    def __init__(self, base: str) -> None:
        self._base = base

    def prepare_set_custom_ivr(
        self, target_type: str, target_id: str, ivr_type: str, ivr_id: str, select_option: str | None
    ) -> Request:
        """The documented PATCH. `ivr_id` becomes a JSON integer.

        Raises:
            ValueError: A part of the path is a dot segment, which would lead to another endpoint.
        """
        path = _path(PATCH_PATH, target_type=target_type, target_id=target_id, ivr_type=ivr_type)
        body: dict[str, Any] = {"ivr_id": int(ivr_id)}
        if select_option is not None:
            body["select_option"] = select_option
        return Request("PATCH", f"{self._base}{path}", PATCH_PATH, body)

    def prepare_list_custom_ivrs(
        self, target_type: str, target_id: str, *, ivr_type: str | None = None, cursor: str | None = None
    ) -> Request:
        """A page of a target's IVRs; of one slot, if the server knows `ivr_type`.

        The live reference documents `ivr_type`, the published OpenAPI document does not: it may be ignored or refused.
        """
        query = {"target_type": target_type, "target_id": target_id, "ivr_type": ivr_type, "cursor": cursor}
        return self._get(LIST_PATH, query)

    def prepare_list_call_centers(self, *, name_search: str | None = None, cursor: str | None = None) -> Request:
        """A page of the company's call centers; of those whose name contains `name_search`."""
        return self._get(LIST_PATHS["callcenter"], {"name_search": name_search, "cursor": cursor})

    def prepare_list_departments(self, *, name_search: str | None = None, cursor: str | None = None) -> Request:
        """A page of the company's departments; of those whose name contains `name_search`."""
        return self._get(LIST_PATHS["department"], {"name_search": name_search, "cursor": cursor})

    def prepare_list_offices(self, *, cursor: str | None = None) -> Request:
        """A page of the company's offices."""
        return self._get(OFFICES_PATH, {"cursor": cursor})

    def prepare_list_office_call_centers(self, office_id: str, *, cursor: str | None = None) -> Request:
        """A page of an office's call centers."""
        return self._get(OFFICE_LIST_PATHS["callcenter"], {"cursor": cursor}, office_id=office_id)

    def prepare_list_office_departments(self, office_id: str, *, cursor: str | None = None) -> Request:
        """A page of an office's departments."""
        return self._get(OFFICE_LIST_PATHS["department"], {"cursor": cursor}, office_id=office_id)

    def prepare_list_office_coaching_teams(self, office_id: str, *, cursor: str | None = None) -> Request:
        """A page of an office's coaching teams."""
        return self._get(OFFICE_LIST_PATHS["coachingteam"], {"cursor": cursor}, office_id=office_id)

    def prepare_list_users(
        self, *, email: str | None = None, number: str | None = None, cursor: str | None = None
    ) -> Request:
        """A page of the company's users; of those with that email address or number."""
        return self._get(LIST_PATHS["user"], {"email": email, "number": number, "cursor": cursor})

    def prepare_list_coaching_teams(self, *, cursor: str | None = None) -> Request:
        """A page of the company's coaching teams."""
        return self._get(LIST_PATHS["coachingteam"], {"cursor": cursor})

    def prepare_list_channels(self, *, cursor: str | None = None) -> Request:
        """A page of the company's channels."""
        return self._get(LIST_PATHS["channel"], {"cursor": cursor})

    def prepare_list_rooms(self, *, office_id: str | None = None, cursor: str | None = None) -> Request:
        """A page of the company's rooms, or of an office's."""
        return self._get(LIST_PATHS["room"], {"office_id": office_id, "cursor": cursor})

    def prepare_list_call_routers(self, *, office_id: str | None = None, cursor: str | None = None) -> Request:
        """A page of the company's call routers, or of an office's."""
        return self._get(LIST_PATHS["callrouter"], {"office_id": office_id, "cursor": cursor})

    def prepare_get_target(self, target_type: str, target_id: str) -> Request:
        """One target of a type that has a list.

        Raises:
            KeyError: The type has none.
        """
        return self._get(f"{LIST_PATHS[target_type]}/{{id}}", {}, id=target_id)

    def prepare_get_number(self, number: str) -> Request:
        """A phone number (E.164), with the target that it belongs to. Needs the key of a company admin."""
        return self._get(NUMBER_PATH, {}, number=number)

    def _get(self, template: str, query: dict[str, str | None], **segments: str) -> Request:
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self._base}{_path(template, **segments)}{'?' if given else ''}{urlencode(given)}"
        return Request("GET", url, template)


def _path(template: str, **segments: str) -> str:
    """The template filled in.

    Raises:
        ValueError: A value is a dot segment, which would lead to another endpoint.
    """
    if any(value in ("", ".", "..") for value in segments.values()):
        raise ValueError("not a path segment")
    return template.format_map({name: quote(value, safe="") for name, value in segments.items()})
