"""The command `test-request`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dialpad_ivr.cli.completion import one_of
from dialpad_ivr.cli.exit_codes import EXIT_FAILED
from dialpad_ivr.cli.options import InputJson, JsonFlag
from dialpad_ivr.contract.values import IVR_TYPES, MODES, SELECT_OPTIONS, TARGET_TYPES


def try_request(
    target_type: Annotated[
        str | None,
        typer.Option(
            help="The type of the target, whose IVR is set: callcenter, department, office, user, ...",
            autocompletion=one_of(TARGET_TYPES),
        ),
    ] = None,
    target_id: Annotated[str | None, typer.Option(help="The target's id.")] = None,
    ivr_type: Annotated[
        str | None,
        typer.Option(
            help="The slot: the occasion on which the IVR plays, e.g. HOLD_MUSIC.", autocompletion=one_of(IVR_TYPES)
        ),
    ] = None,
    ivr_id: Annotated[str | None, typer.Option(help="The id of the IVR to select for the slot.")] = None,
    select_option: Annotated[
        str | None, typer.Option(help="inbound or outbound.", autocompletion=one_of(SELECT_OPTIONS))
    ] = None,
    credential: Annotated[
        str | None,
        typer.Option(help="The credential profile: the name of an API key, e.g. emea for DIALPAD_API_KEY_EMEA."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            help="With --send: plan (the default) only reads, apply makes the change.", autocompletion=one_of(MODES)
        ),
    ] = None,
    input_json: InputJson = "{}",
    send: Annotated[bool, typer.Option("--send", help="Send the request; by default nothing is sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Make the change without confirmation.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Build and show one request, without an engine and with the worker's own code. With `--send`, also send it.

    Examples:
    - `dialpad-ivr test-request --target-type callcenter --target-id 5502522061422592 --ivr-type HOLD_MUSIC
      --ivr-id 5127493019721728`
    - the same with `--send`: reads the current selection
    - the same with `--send --mode apply`: makes the change, after confirmation
    """
    # Completing the values of its options must not take as long as running it.
    import asyncio

    from rich.text import Text

    from dialpad_ivr.cli.common import confirm, json_object, out, settings_or_fail
    from dialpad_ivr.cli.render_output import answer, show_output
    from dialpad_ivr.contract.inputs import SetCustomIvrInput
    from dialpad_ivr.tasks.local_run import as_curl, run_locally
    from dialpad_ivr.telemetry import logs

    options = {
        "target_type": target_type,
        "target_id": target_id,
        "ivr_type": ivr_type,
        "ivr_id": ivr_id,
        "select_option": select_option,
        "credential": credential,
        "mode": mode,
    }
    params = {"mode": "plan", **json_object(input_json), **{k: v for k, v in options.items() if v is not None}}
    settings = settings_or_fail()
    if send and params["mode"] not in ("plan", "validate"):
        target = f"{params.get('target_type')} {params.get('target_id')}"
        question = f"Set {params.get('ivr_type')} of {target} to IVR {params.get('ivr_id')} at {settings.api_url}?"
        confirm(question, yes=yes)
    logs.configure("warning", settings.log_format)
    result = asyncio.run(run_locally(params, settings, send=send))
    profile = params.get("credential") or SetCustomIvrInput.model_fields["credential"].default
    curl = as_curl(result.output.request, str(profile)) if result.output.request else None
    if as_json:
        typer.echo(json.dumps({**result.output.model_dump(mode="json"), "curl": curl}, indent=2))
    else:
        show_output(out, result.output, curl)
        out.print(answer(result.output), soft_wrap=True)
        if not send and result.output.ok:
            out.print(Text("Nothing was sent. Send it with --send.", style="dim"))
    if not result.output.ok:
        raise typer.Exit(EXIT_FAILED)
