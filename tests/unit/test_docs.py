"""The docs against the code: commands and options exist, JSON is what it claims to be, names and links lead somewhere.

What can be run is run on the real engine, by `tests/engine/test_docs.py` and `test_readme.py`.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import AliasChoices

from dialpad_ivr.cli.app import imported_group
from dialpad_ivr.cli.exit_codes import EXIT_CODES
from dialpad_ivr.contract.outcomes import OUTCOMES
from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.contract.validation import check_input
from dialpad_ivr.credentials import COMPANY_NAME, KEY_NAME
from dialpad_ivr.dialpad.verdict import OUTCOME_TABLE, engine_status
from dialpad_ivr.engine.definitions import definitions_root, shipped
from dialpad_ivr.settings import OTHER_VARIABLES, Settings
from dialpad_ivr.telemetry.metrics import Metrics
from support.docs import NAVIGATION, PAGES, ROOT, Block, blocks, shown
from tools.generate import stale_files
from tools.reference import reference_pages

BLOCKS = [block for page in PAGES for block in blocks(page)]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def commands() -> Iterator[tuple[str, str]]:
    """Every shell command in a block of a page: where it is, and the command."""
    for block in BLOCKS:
        if block.kind == "console":
            yield from ((str(block), example.command) for example in shown(block))
        elif block.kind == "bash":
            yield from ((str(block), line) for line in block.text.splitlines())


def named(pattern: str) -> Iterator[tuple[str, str]]:
    """Every command that a page names in its prose, perhaps without what it needs."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        yield from ((page.name, code) for code in re.findall(rf"`((?:\.venv/bin/)?{pattern}[^`]*)`", prose))


def of_ours(command: str) -> list[str]:
    """The words behind `dialpad-ivr` in a command, up to where another one begins."""
    words = shlex.split(command, comments=True)
    for i, word in enumerate(words):
        if word.rpartition("/")[2] == "dialpad-ivr" and words[i - 1] not in ("-n", "generic"):  # those are kubectl's
            return list(itertools.takewhile(lambda word: word not in (">", "|"), words[i + 1 :]))
    return []


ROOT_COMMAND = imported_group()
CONTEXT = typer.Context(ROOT_COMMAND)


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words run, perhaps one of a group, and its arguments."""
    found: Any = ROOT_COMMAND
    while hasattr(found, "get_command") and words:
        name, *words = words
        found = found.get_command(CONTEXT, name)
        assert found is not None, name
    return found, words


@pytest.mark.parametrize(("where", "command"), [c for c in commands() if of_ours(c[1])])
def test_commands_in_blocks_can_be_parsed(where: str, command: str) -> None:
    words = of_ours(command)
    if words[0] != "--help":
        found, arguments = command_of(words)
        assert found.make_context(found.name, arguments)


@pytest.mark.parametrize(("where", "command"), sorted(set(named("dialpad-ivr "))))
def test_commands_and_options_in_prose_exist(where: str, command: str) -> None:
    words = of_ours(command)
    if words[0] == "...":
        return
    found, arguments = command_of(words)
    options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {argument for argument in arguments if argument.startswith("-")} <= options


@pytest.mark.parametrize(("where", "command"), [*(c for c in commands() if c[1].startswith("make ")), *named("make ")])
def test_targets_of_make_exist(where: str, command: str) -> None:
    words = shlex.split(command, comments=True)
    assert {word for word in words[1:] if "=" not in word and word not in ("...", ".venv/.synced")} <= TARGETS


def test_extras_exist() -> None:
    extras = set(metadata("dialpad-ivr").get_all("Provides-Extra") or [])
    named = {name for page in PAGES for name in re.findall(r"dialpad-ivr\[(\w+)\]", page.read_text("utf-8"))}
    assert "fleet" in named
    assert named <= extras


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "bash"], ids=str)
def test_shell_blocks_are_shell(block: Block) -> None:
    subprocess.run(["bash", "-n", "-c", block.text], check=True)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "python"], ids=str)
def test_python_blocks_are_python(block: Block) -> None:
    assert ast.parse(block.text)  # they are run, and their types checked, on the engine and from an installed wheel


# The examples of workflows are run, each by a test of its own.
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "json" and "workflows" not in b.page], ids=str)
def test_json_blocks_are_valid_inputs_definitions_or_key_files(block: Block) -> None:
    """A definition's tasks hand on inputs that our tasks take; an input is valid; a file of keys can be read."""
    value = json.loads(block.text)
    for task in tasks_in(value):
        if task["name"] in INPUTS:
            given = {key: filled_in(text) for key, text in task["inputParameters"].items()}
            assert not isinstance(check_input(given, INPUTS[task["name"]]), list)
        elif task["type"] == "SUB_WORKFLOW":
            ours = {d.name: d.body for d in shipped() if d.kind == "workflow"}
            assert set(task["inputParameters"]) <= set(ours[task["subWorkflowParam"]["name"]]["inputParameters"])
        else:
            assert task["type"] in ("SWITCH", "SET_VARIABLE")
    if "target_type" in value:
        checked = [check_input(value, model) for model in INPUTS.values()]
        assert any(not isinstance(result, list) for result in checked), checked
    elif not any(key in value for key in ("type", "tasks", "changes")):
        assert block.title or "default" in value, "what is it?"


def tasks_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "taskReferenceName" in value:
            yield value
        for item in value.values():
            yield from tasks_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from tasks_in(item)


def filled_in(text: Any) -> Any:
    """A task's parameter as it may be when the task runs: what comes from elsewhere is an id."""
    return re.sub(r"^\$\{.*\}$", "5502522061422592", text) if isinstance(text, str) else text


def variables() -> set[str]:
    """Every variable that the worker, the command and the SDK read."""
    names = set(OTHER_VARIABLES)
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or f"DIALPAD_IVR_{name.upper()}"]
        names |= {str(choice) for choice in choices}
    return names


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_variables_are_settings(page: Path) -> None:
    named = set(re.findall(r"\b(?:DIALPAD|CONDUCTOR)_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
    of_profiles = {name for name in named if re.match(rf"({KEY_NAME}|{COMPANY_NAME})(_[A-Z]+)?$", name)}
    others = {"CONDUCTOR_ENV_OVERRIDE_NOTIFY_URL"}  # the engine's
    assert named - of_profiles - others <= variables()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs and the usual hosts make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[page.relative_to(ROOT).as_posix() for page in PAGES])
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_front_door_leads_to_every_page() -> None:
    linked = {
        (ROOT / target.partition("#")[0]).resolve()
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text("utf-8"))
    }
    assert {page for page in PAGES if page.name not in ("README.md", "index.md")} <= linked


def test_generated_files_match_the_code() -> None:
    assert definitions_root() == ROOT
    assert stale_files() == {}


def test_the_reference_says_all_there_is() -> None:
    reference = reference_pages()
    for model in INPUTS.values():
        for name in model.model_fields:
            assert name == "fork_index" or f"| `{name}` |" in reference["input.md"], name
    for outcome in OUTCOMES:
        line = next(line for line in reference["outcomes.md"].splitlines() if line.startswith(f"| `{outcome}` |"))
        assert engine_status(outcome) in line
    for row in OUTCOME_TABLE:
        assert f"| {row.what_happened} |" in reference["outcomes.md"]
    for family in Metrics().registry.collect():
        assert f"`{family.name}{'_total' if family.type == 'counter' else ''}`" in reference["metrics.md"]
    assert "`dialpad_ivr_tasks_total` | counter | `task`, `outcome` |" in reference["metrics.md"]
    for name in variables() - {"DIALPAD_IVR_SERVER_URL"}:
        assert f"| `{name}` |" in reference["settings.md"], name
    for name in ("worker", "test-request", "rollback"):
        assert f"## `dialpad-ivr {name}`" in reference["commands.md"]
    for code in EXIT_CODES:
        assert f"| {code} |" in reference["commands.md"]


def test_pictures_are_there_and_small() -> None:
    shown = {name for page in PAGES for name in re.findall(r"/img/([\w.-]+)\)", page.read_text("utf-8"))}
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs/img").iterdir()}
    assert set(pictures) == shown
    assert max(pictures.values()) < 100_000


class Fetched(HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        url = given.get("src") or (given.get("href") if tag == "link" and given.get("rel") != "canonical" else None)
        if url:
            self.urls.append(url)


@pytest.mark.long
def test_the_site_is_built_without_a_warning_and_fetches_nothing_from_elsewhere(tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).with_name("mkdocs")
    command: list[str | Path] = [mkdocs, "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    pages = sorted((tmp_path / "site").glob("**/*.html"))
    assert len(pages) > len(PAGES) / 2
    for page in pages:
        text = page.read_text("utf-8")
        assert not [url for url in Fetched(text).urls if re.match(r"(https?:)?//", url)], page
        assert "fonts.googleapis" not in text
    index = (tmp_path / "site/llms.txt").read_text("utf-8")
    listed = re.findall(r"^- \[[^]]+\]\((\S+)\): \S", index, re.MULTILINE)
    assert len(listed) == len(NAVIGATION)
    for name in listed:
        markdown = (tmp_path / "site" / name).read_text("utf-8")
        assert markdown.startswith("# ")
        prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", prose):
            assert (tmp_path / "site" / name).parent.joinpath(target).exists(), (name, target)


def test_the_index_for_language_models_says_something_of_each_page() -> None:
    lines = (ROOT / "llms.txt").read_text("utf-8").splitlines()
    assert lines[0] == "# dialpad-ivr"
    assert lines[2].startswith("> ")
    entries = [re.fullmatch(r"- \[(.+)\]\((.+)\): (.+)", line) for line in lines if line.startswith("-")]
    assert [ROOT / entry[2] for entry in entries if entry] == NAVIGATION
    assert all(entry and len(entry[3]) > 20 and "](" not in entry[3] for entry in entries)


def test_make_help_lists_every_target() -> None:
    completed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = {line.split()[0] for line in completed.splitlines() if not line.startswith("make")}
    assert listed == TARGETS
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_pre_commit_runs_the_tools_of_this_checkout_and_fetches_nothing() -> None:
    config = ROOT / ".pre-commit-config.yaml"
    bin_folder = Path(sys.executable).parent
    subprocess.run([bin_folder / "pre-commit", "validate-config", config], check=True)
    repos = yaml.safe_load(config.read_text("utf-8"))["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system"
        tool = hook["entry"].split()[0]
        assert tool.startswith(".venv/bin/")
        assert (bin_folder / Path(tool).name).exists()
