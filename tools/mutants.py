"""Mutation testing of the modules that decide what an input and a response mean, and when a call may leave.

python -m tools.mutants                    all of `MODULES`
python -m tools.mutants pacing undelivered those whose path contains one of the words
python -m tools.mutants --again circuit    only what survived the last run, e.g. with a new test

Exit code 1: less than `LEAST_PERCENT` of the mutants are killed, or one survives that `tests/mutants.md` does not list.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "worker" / "dialpad_ivr"
BUILD: Final = ROOT / "build" / "mutants"
ACCEPTED: Final = ROOT / "tests" / "mutants.md"
LEAST_PERCENT: Final = 90

# The tests of tests/unit that concern each: a mutant that fails only a test of something else does not count as killed.
MODULES: Final = {
    "dialpad/parsing.py": ("dialpad/test_parsing.py",),
    "dialpad/verdict.py": ("dialpad/test_verdict.py",),
    "contract/validation.py": ("contract",),
    "pacing/circuit.py": ("pacing/test_circuit.py",),
    "pacing/window.py": ("pacing/test_window.py", "pacing/test_limiter.py", "pacing/test_circuit.py"),
    "pacing/delays.py": ("pacing/test_delays.py", "pacing/test_limiter.py"),
    "pacing/limiter.py": ("pacing/test_limiter.py", "pacing/test_delays.py", "pacing/test_circuit.py"),
    "pacing/redis.py": ("pacing/test_redis.py", "pacing/test_circuit.py"),
    "worker/undelivered.py": ("worker/test_undelivered.py",),
}
READ_BY_TESTS: Final = ["task_defs", "workflows", "deploy", "docs"]
# Tests that draw their input take seconds for each mutant, and would kill another set of them each time.
TESTS: Final = ("-m", "not long and not examples")
TESTS_OVER_REDIS: Final = ("-m", "not examples", "-k", "redis")
# By mutmut's exit codes: the tests failed, pytest failed (e.g. while importing), the time was up.
KILLED: Final = {1, 3, 36, 24, -24, 152, 255}


class Mutant(NamedTuple):
    """A change of a function: the lines removed and added, without indentation."""

    function: str
    difference: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([f"@@ {self.function}", *self.difference])


def build(module: str, *, keep: bool = False) -> Path:
    """Copy what the tests of a module need, its package into `src/`, as mutmut expects it; returns the folder.

    Args:
        module: A key of `MODULES`.
        keep: Whether to keep the mutants of the last run and their results.
    """
    folder = BUILD / module.removesuffix(".py").replace("/", "-")
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "worker", folder / "src", dirs_exist_ok=True)
    for name in ("tests", *READ_BY_TESTS):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    tests = TESTS_OVER_REDIS if module == "pacing/redis.py" else TESTS
    options = {
        "source_paths": ["src"],
        "only_mutate": [f"src/dialpad_ivr/{module}"],
        "also_copy": READ_BY_TESTS,
        # Processes that others leave behind meanwhile are no test's fault.
        "pytest_add_cli_args": [*tests, "-p", "no:cacheprovider", "-p", "no:support.leftovers", "--timeout=20"],
        "pytest_add_cli_args_test_selection": [f"tests/unit/{name}" for name in MODULES[module]],
        "timeout_multiplier": 3.0,  # of the tests' time and the constant: a busy machine is not to kill a mutant
        "timeout_constant": 15.0,
        "use_git_change_detection": False,
    }
    table = "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (folder / "pyproject.toml").write_text(f"{text}\n[tool.mutmut]\n{table}\n", "utf-8")
    return folder


def results_file(module: str, folder: Path) -> Path:
    """Where mutmut keeps the results of a module."""
    return folder / "mutants" / "src" / "dialpad_ivr" / f"{module}.meta"


def results(module: str, folder: Path) -> dict[str, int | None]:
    """Mutmut's exit code of each mutant."""
    codes: dict[str, int | None] = json.loads(results_file(module, folder).read_text("utf-8"))["exit_code_by_key"]
    return codes


def forget_survivors(module: str, folder: Path) -> None:
    """Make mutmut try those again; it does so for what has no result."""
    path = results_file(module, folder)
    kept = json.loads(path.read_text("utf-8"))
    kept["exit_code_by_key"] = {
        name: code if code in KILLED else None for name, code in kept["exit_code_by_key"].items()
    }
    path.write_text(json.dumps(kept), "utf-8")


def survivors(module: str, folder: Path) -> list[Mutant]:
    """The mutants that no test failed on.

    `mutmut show` parses a file of thousands of functions for each one.
    """
    text = (folder / "mutants" / "src" / "dialpad_ivr" / module).read_text("utf-8")
    lines = text.splitlines()
    bodies = {
        node.name: [
            line.strip().replace(node.name, original_name(node.name).rpartition(".")[2])
            for line in lines[node.lineno - 1 : node.end_lineno]
        ]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    names = [name.rpartition(".")[2] for name, code in results(module, folder).items() if code not in KILLED]
    return [describe(name, bodies[re.sub(r"\d+$", "orig", name)], bodies[name]) for name in names]


def describe(name: str, before: list[str], after: list[str]) -> Mutant:
    """A mutant from mutmut's name of it, and the lines of the function before and after."""
    lines = [line for line in difflib.unified_diff(before, after, n=0) if not line.startswith(("---", "+++", "@@"))]
    return Mutant(original_name(name), tuple(f"{line[0]} {line[1:]}" for line in lines))


def original_name(name: str) -> str:
    """The function that a mutant is of, with its class: `Limiter.company` of `xǁLimiterǁcompany__mutmut_1`."""
    separator = "\N{LATIN LETTER LATERAL CLICK}"
    return re.sub(r"^x_?|__mutmut_\w+$", "", name).strip(separator).replace(separator, ".")


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in a folder; returns what it prints."""
    command = [str(Path(sys.executable).with_name("mutmut")), *arguments]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if not re.match("[\N{BRAILLE PATTERN BLANK}-\u28ff]", line)]
        raise SystemExit(f"mutmut {arguments[0]} failed in {folder}:\n" + "\n".join(lines[-40:]))
    return done.stdout


def accepted() -> dict[str, Counter[str]]:
    """The survivors that `tests/mutants.md` gives a reason for, by module."""
    listed: dict[str, Counter[str]] = {}
    for section in re.split(r"^## ", ACCEPTED.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        blocks = re.findall(r"^```diff\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
        mutants = re.findall(r"^@@.*(?:\n(?!@@).+)*", "".join(blocks), re.MULTILINE)
        listed[section.split("\n", 1)[0].strip("` ")] = Counter(mutants)
    return listed


def main() -> int:
    """Mutate the modules that the arguments select; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only the modules whose path contains one of these")
    parser.add_argument("--again", action="store_true", help="only the mutants that survived the last run")
    options = parser.parse_args()
    chosen = [name for name in MODULES if not options.words or any(word in name for word in options.words)]
    if not chosen:
        parser.error(f"no such module; there are {', '.join(MODULES)}")
    known, total, killed, unlisted = accepted(), 0, 0, 0
    for module in chosen:
        folder = build(module, keep=options.again)
        if options.again:
            forget_survivors(module, folder)
        mutmut(folder, "run", "--max-children", "2")
        alive = survivors(module, folder)
        fresh = Counter(map(str, alive)) - known.get(module, Counter())
        gone = known.get(module, Counter()) - Counter(map(str, alive))
        count = len(results(module, folder))
        total, killed, unlisted = total + count, killed + count - len(alive), unlisted + fresh.total()
        print(f"{module}: {count} mutants, {count - len(alive)} killed, {len(alive)} survived", flush=True)
        for title, mutants in (("Not in tests/mutants.md", fresh), ("Killed, but listed in tests/mutants.md", gone)):
            if mutants:
                print(f"{title}:", *sorted(mutants.elements()), sep="\n", flush=True)
    print(
        f"All: {total} mutants, {killed} killed ({100 * killed / total:.1f} %), {unlisted} survivors without a reason"
    )
    return int(unlisted > 0 or 100 * killed < LEAST_PERCENT * total)


if __name__ == "__main__":
    sys.exit(main())
