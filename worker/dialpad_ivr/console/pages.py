"""What the pages share: templates, forms, the connection to the engine, and the test requests of this process.

A request with the header `X-Part` gets only that part of a page.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dialpad_ivr import __version__
from dialpad_ivr.console.connection import Connection, check_connection
from dialpad_ivr.contract.outcomes import OK_OUTCOMES, OUTCOME_MEANINGS
from dialpad_ivr.contract.schema import ENDPOINTS
from dialpad_ivr.engine.api import EngineApi
from dialpad_ivr.engine.definitions import PURPOSES
from dialpad_ivr.provisioning.run import NO_RESULT
from dialpad_ivr.provisioning.times import iso_text, zone_text
from dialpad_ivr.settings import SettingsError
from dialpad_ivr.tasks.tools import Tools

FOLDER: Final = Path(__file__).parent
_MAX_FORM = 64 * 1024  # bytes
_MAX_FIELDS = 100
_CONNECTION_CHECK_SECONDS = 5.0  # between checks
_NAME_SHOWN = 100  # characters

# The parts of each page that can be requested alone.
_PARTS: Final = {
    "task": ("preview", "response"),
    "test_request": ("response",),
    "run": ("run",),
    "search": ("results",),
    "engine": ("engine",),
    "limits": ("limits",),
    "choices": ("choices",),
    "targets": ("targets",),
    "overrides": ("overrides",),
    "override": ("override",),
    "playbook": ("rehearsal",),
}


class Pages:
    """Renders pages.

    Args:
        tools: For test requests sent directly to Dialpad.
        engine: For everything else.

    Raises:
        SettingsError: The extra `console` is not installed.
    """

    def __init__(self, tools: Tools, engine: EngineApi) -> None:
        self.tools = tools
        self.engine = engine
        self._connection = Connection()
        self._checked_at = -math.inf
        self._templates = _templates()

    async def connection(self) -> Connection:
        """The connection to the engine, cached briefly."""
        if time.monotonic() > self._checked_at + _CONNECTION_CHECK_SECONDS:
            self._connection = await check_connection(self.engine)
            self._checked_at = time.monotonic()
        return self._connection

    def page(self, request: Request, name: str, status: int = 200, **context: Any) -> Response:
        """A page, or the part of it named by `X-Part`."""
        part = request.headers.get("x-part")
        if part is not None and part not in _PARTS.get(name, ()):
            raise HTTPException(400, "Unknown part of the page.")
        return self._render(request, name if part is None else f"_{part}", status, context)

    def _render(self, request: Request, template: str, status: int, context: Mapping[str, Any]) -> Response:
        shared = {"path": request.url.path, "query": "", "ui": self._connection.ui}
        return HTMLResponse(self._templates.get_template(f"{template}.html").render({**shared, **context}), status)

    async def error(self, request: Request, exc: HTTPException) -> Response:
        """An error page."""
        return self._render(request, "error", exc.status_code, {"status": exc.status_code, "detail": exc.detail})


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a posted form.

    Raises:
        HTTPException: It is too large.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM:
            raise HTTPException(413, f"The form is larger than {_MAX_FORM} bytes.")
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise HTTPException(400, f"The form has more than {_MAX_FIELDS} fields.") from None


def digest(*confirmed: Any) -> str:
    """Identifies what a person confirms: an edited form no longer matches."""
    return hashlib.sha256(json.dumps(confirmed, sort_keys=True).encode()).hexdigest()


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _brief(name: str) -> str:
    """A name from outside as far as it is shown. In a template it belongs into `<bdi>`: it may turn what follows it."""
    return name if len(name) <= _NAME_SHOWN else f"{name[:_NAME_SHOWN]}\N{HORIZONTAL ELLIPSIS}"


def _local_time(milliseconds: int) -> str:
    """A time in milliseconds since 1970, by this machine's clock."""
    return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(milliseconds: int) -> str:
    """Milliseconds in words, such as `1 min 12 s`."""
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@cache
def _templates() -> Any:
    """The environment of the templates: compiled once, whatever the number of consoles."""
    try:
        jinja2 = import_module("jinja2")
    except ModuleNotFoundError:
        raise SettingsError("The console needs an extra: pip install 'dialpad-ivr[console]'") from None
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"brief": _brief, "duration": _duration, "local_time": _local_time, "pretty": _pretty}
    templates.filters |= {"iso_time": iso_text, "zone_time": zone_text}
    templates.globals |= {
        "version": __version__,
        "endpoints": ENDPOINTS,
        "purposes": PURPOSES,
        "ok_outcomes": OK_OUTCOMES,
        "meanings": OUTCOME_MEANINGS,
        "no_result": NO_RESULT,
        "zone": datetime.now().astimezone().tzname(),
    }
    return templates
