"""The control API below `/_double/`. Its calls need no bearer key and are not counted.

| call | body | response |
|---|---|---|
| `GET health` | | `{"ok": true}` |
| `GET state` | | `{"targets": [{target_type, target_id, name, office_id, numbers, emails, slots}]}` |
| `PUT state` | as above, `{"synthetic": N}`, `{"company": N}` or several (see `company`) | `{"targets": <count>}` |
| `POST faults` | a rule or a list of rules to append (see `faults.FaultRule`) | `{"faults": <count>}` |
| `DELETE faults` | | `{"faults": 0}` |
| `GET config` | | all settings (see `core.FakeConfig`) |
| `PUT config` | the settings to change | all settings |
| `GET ledger` | | `{"summary": {...}, "arrivals": [...]}` (see `ledger`); with `?summary=true` only the summary |
| `POST reset` | | `{"ok": true}` |

An invalid body gets a 400 with `{"errors": [{"path": "targets.0.target_id", "message": "..."}]}`, a caller that is not
on loopback a 403.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dialpad_ivr.local.double.company import FakeStateBody
from dialpad_ivr.local.double.faults import FaultRule
from dialpad_ivr.settings import is_loopback

if TYPE_CHECKING:
    from dialpad_ivr.local.double.core import FakeDialpad

_RULE: Final = TypeAdapter(FaultRule)
_RULES: Final = TypeAdapter(list[FaultRule])
_SETTINGS: Final = TypeAdapter(dict[str, Any])


def control_app(double: FakeDialpad) -> ASGIApp:
    """The ASGI app of the control API."""

    async def health(_: Request) -> Response:
        return JSONResponse({"ok": True})

    async def get_state(_: Request) -> Response:
        return JSONResponse({"targets": [target.model_dump() for target in double.state.targets()]})

    async def put_state(request: Request) -> Response:
        targets = FakeStateBody.model_validate_json(await request.body()).all()
        double.state.replace(targets)
        return JSONResponse({"targets": len(targets)})

    async def add_faults(request: Request) -> Response:
        body = await request.body()
        many = body.lstrip().startswith(b"[")
        double.faults.add(*(_RULES.validate_json(body) if many else [_RULE.validate_json(body)]))
        return JSONResponse({"faults": len(double.faults)})

    async def clear_faults(_: Request) -> Response:
        double.faults.clear()
        return JSONResponse({"faults": 0})

    async def get_config(_: Request) -> Response:
        return JSONResponse(double.config.model_dump())

    async def put_config(request: Request) -> Response:
        return JSONResponse(double.configure(_SETTINGS.validate_json(await request.body())).model_dump())

    async def ledger(request: Request) -> Response:
        content: dict[str, Any] = {"summary": double.summary()}
        if request.query_params.get("summary") != "true":
            content["arrivals"] = double.ledger.rows()
        return JSONResponse(content)

    async def reset(_: Request) -> Response:
        double.reset()
        return JSONResponse({"ok": True})

    app = Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/state", get_state, methods=["GET"]),
            Route("/state", put_state, methods=["PUT"]),
            Route("/faults", add_faults, methods=["POST"]),
            Route("/faults", clear_faults, methods=["DELETE"]),
            Route("/config", get_config, methods=["GET"]),
            Route("/config", put_config, methods=["PUT"]),
            Route("/ledger", ledger, methods=["GET"]),
            Route("/reset", reset, methods=["POST"]),
        ],
        exception_handlers={ValidationError: _errors},
    )

    async def from_loopback_only(scope: Scope, receive: Receive, send: Send) -> None:
        host = (scope.get("client") or ("",))[0]
        if is_loopback(host):
            await app(scope, receive, send)
        else:
            await JSONResponse({"errors": [{"path": "", "message": "loopback only"}]}, 403)(scope, receive, send)

    return from_loopback_only


async def _errors(_: Request, exc: Exception) -> Response:
    details = exc.errors(include_url=False) if isinstance(exc, ValidationError) else []
    errors = [{"path": ".".join(map(str, error["loc"])), "message": error["msg"]} for error in details]
    return JSONResponse({"errors": errors}, 400)
