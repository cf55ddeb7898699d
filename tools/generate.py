"""Regenerate the files that are made from the code, or check that they match it.

python -m tools.generate           write task_defs/, docs/reference/ and llms.txt
python -m tools.generate --check   exit 1 and list the files that do not match
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Final

from dialpad_ivr.contract.schema import INPUTS
from dialpad_ivr.engine.definitions import task_definition
from tools.llms import llms_txt
from tools.reference import reference_pages

ROOT: Final = Path(__file__).parents[1]


def generated_files() -> dict[str, str]:
    """Every generated file: its path relative to the root, and its text."""
    files = {
        **{f"task_defs/{name}.json": json.dumps(task_definition(name), indent=2) + "\n" for name in INPUTS},
        **{f"docs/reference/{name}": text for name, text in reference_pages().items()},
    }
    return {**files, "llms.txt": llms_txt(files)}


def stale_files() -> dict[str, str]:
    """Those of the generated files that do not match what is on disk."""
    return {
        name: text
        for name, text in generated_files().items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text("utf-8") != text
    }


def main() -> int:
    """Write the stale files, or only list them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file does not match")
    check = parser.parse_args().check
    stale = stale_files()
    for name, text in stale.items():
        sys.stdout.write(f"{'does not match the code' if check else 'written'}: {name}\n")
        if not check:
            (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / name).write_text(text, "utf-8")
    if stale and check:
        sys.stdout.write("Regenerate with: make format\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
