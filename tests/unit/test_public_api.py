"""The public API: exactly these names, each documented, and none imported before it is used."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dialpad_ivr
from support.docs import ROOT

PUBLIC = [
    "Comparison",
    "Definition",
    "EngineApi",
    "EngineError",
    "FieldError",
    "ListCustomIvrsInput",
    "ListCustomIvrsOutput",
    "ListTargetsInput",
    "ListTargetsOutput",
    "SetCustomIvrInput",
    "SetCustomIvrOutput",
    "Settings",
    "SettingsError",
    "TaskOutput",
    "check_input",
    "compare",
    "follow",
    "input_schema",
    "load_settings",
    "output_schema",
    "register",
    "run_locally",
    "run_worker",
    "shipped",
]


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_public_api_is_exactly_this_list() -> None:
    assert dialpad_ivr.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(dialpad_ivr))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_resolves_and_has_a_docstring(name: str) -> None:
    value = getattr(dialpad_ivr, name)
    assert value.__name__ == name
    assert value.__module__.startswith("dialpad_ivr.")
    assert value.__doc__
    assert inspect.getdoc(value)


def test_star_import_gives_every_public_name() -> None:
    namespace: dict[str, object] = {}
    exec("from dialpad_ivr import *", namespace)
    assert set(PUBLIC) == set(namespace) - {"__builtins__"}


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        dialpad_ivr.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_no_dependency() -> None:
    loaded = run_python(
        "import sys; before = set(sys.modules); import dialpad_ivr; assert dialpad_ivr.__version__;"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('importlib')))"
    ).split()
    assert {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names == {"dialpad_ivr"}
    assert [name for name in loaded if name.startswith("dialpad_ivr.")] == []


def test_contract_is_imported_without_the_engines_sdk() -> None:
    assert run_python("import sys; from dialpad_ivr import check_input; print('conductor' in sys.modules)") == "False\n"


def test_type_checker_knows_every_public_name_and_no_other(tmp_path: Path) -> None:
    uses = "".join(f"from dialpad_ivr import {name}\nreveal_type({name})\n" for name in PUBLIC)
    module = tmp_path / "user_code.py"
    module.write_text(f"{uses}from dialpad_ivr import no_such_name\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(module)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert len(re.findall(r"Revealed type is ", shown)) == len(PUBLIC)
    assert not re.search(r'Revealed type is "Any"', shown)
    errors = re.findall(r":\d+: error: (.*)", shown)
    assert len(errors) == 1, errors
    assert "no_such_name" in errors[0]


def test_documentation_lists_exactly_the_public_api() -> None:
    page = (ROOT / "docs/how-to/use-from-python.md").read_text("utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == PUBLIC
