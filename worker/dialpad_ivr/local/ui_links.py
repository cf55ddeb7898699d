"""Links into the engine's UI that lead to a test request at once."""

from __future__ import annotations

import json
from pathlib import Path

from dialpad_ivr.contract.validation import example_input
from dialpad_ivr.contract.values import TASK_TYPE
from dialpad_ivr.engine.definitions import shipped

_WORKFLOW = "set_custom_ivr_test_request"
_PAGE = "run-test-request.html"
UI_LINKS = (
    ("Test Task", f"/taskDef/{TASK_TYPE}", "Test Task"),
    ("Run", f"/{_PAGE}", "Run workflow"),
)
"""Each with its name, its path and the button to press there."""

# The UI's form opens with the workflow that was run last in this browser. No address of the UI names another one.
_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Run workflow</title>
<script>
localStorage.setItem("selectedWorkflow", JSON.stringify(%s));
location.replace("/runWorkflow");
</script>
"""


def write_run_page(folder: Path) -> None:
    """Write the page that opens "Run workflow" with the test request chosen and its example filled in.

    The engine must serve it beside the UI: only a page of the same origin can make the choice.
    """
    (version,) = (definition.body["version"] for definition in shipped() if definition.name == _WORKFLOW)
    chosen = {
        "name": _WORKFLOW,
        "version": str(version),
        "workflowInput": json.dumps(example_input(), indent=2),
    }
    (folder / _PAGE).write_text(_HTML % json.dumps(chosen).replace("<", "\\u003c"), "utf-8")
