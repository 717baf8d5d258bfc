"""The docs are true: generated pages are fresh, every command runs, every YAML block is a file that works.

A block that follows a line "`path`:" is written to that path, and so is a YAML block that begins with "# path". Blocks
of `sh` must succeed; in `console` blocks each `$ ` line is run, and an error shown below it must appear.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from batchforge.config.job_files import load_jobs
from batchforge.errors import ProblemList
from batchforge.project import load_project
from tests.builders import child_environment
from tests.docs_pages import TREE, pages

DOCS = TREE / "docs"
WITH_A_TEST_OF_THEIR_OWN = {
    "docs/emulator.md": "emulator/test_emulator_docs.py",
    "docs/cost.md": "test_cost.py",
    "docs/costs-and-caching.md": "end_to_end/test_costs_docs.py",
    "docs/looking-and-erasing.md": "test_looking_docs.py",
    "docs/selecting.md": "selection/test_selecting_docs.py",
}
GENERATED = {f"docs/{name}" for name in ("yaml.md", "commands.md", "errors.md", "log.md")}
_ALL = {str(path.relative_to(TREE)) for path in DOCS.rglob("*.md")}
PAGES = sorted(_ALL - GENERATED - WITH_A_TEST_OF_THEIR_OWN.keys())
_BLOCK = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_OF_THE_REPOSITORY = ("pip install", "tests/run.sh")
"""Commands of the README that .ci/run runs, in a clone."""


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    path: str | None

    @classmethod
    def all_of(cls, text: str) -> list[Block]:
        found = [cls(match["kind"], match["text"], match["path"]) for match in _BLOCK.finditer(text)]
        return [block.with_path() for block in found]

    def with_path(self) -> Block:
        first = re.match(r"# ([\w./-]+\.yml)", self.text)
        return Block(self.kind, self.text, first[1]) if first and not self.path else self


@pytest.mark.parametrize("name", [name.removeprefix("docs/") for name in sorted(GENERATED)])
def test_a_generated_page_is_fresh(name: str) -> None:
    assert pages()[name] == (DOCS / name).read_text("utf-8"), "`python -m tests.docs_pages` writes it anew"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_true(page: str, tmp_path: Path) -> None:
    for block in [*_common(page), *Block.all_of((TREE / page).read_text("utf-8"))]:
        if block.path:
            path = tmp_path / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.kind == "sh":
            _run(block.text, tmp_path)
        elif block.kind == "console":
            for command, shown in _sessions(block.text):
                _run_shown(command, shown, tmp_path)
    if (tmp_path / "batchforge.yml").exists():
        _check_project(tmp_path)


def test_the_readme_shows_a_project_that_works(tmp_path: Path) -> None:
    blocks = Block.all_of((TREE / "README.md").read_text("utf-8"))
    for block in blocks:
        if block.path:
            (tmp_path / block.path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.path).write_text(block.text, "utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tickets.tsv").write_text("id\ttext\n1\tWhere is my bill?\n")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/categories.yml").write_text("billing: money\nother: all else\n")
    (tmp_path / "prompts/classify.md.j2").write_text("Sort the ticket.\n")
    _check_project(tmp_path)
    for block in blocks:
        if block.kind in ("sh", "console") and not any(word in block.text for word in _OF_THE_REPOSITORY):
            for command, shown in _sessions(block.text):
                _run_shown(command, shown, tmp_path)


@pytest.mark.parametrize("page", WITH_A_TEST_OF_THEIR_OWN)
def test_a_page_with_a_test_of_its_own_has_one(page: str) -> None:
    assert Path(page).name in (TREE / "tests" / WITH_A_TEST_OF_THEIR_OWN[page]).read_text("utf-8")


def test_every_link_of_the_docs_leads_somewhere() -> None:
    for path in [TREE / "README.md", TREE / "CONTRIBUTING.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def _common(page: str) -> list[Block]:
    """The how-tos share a batchforge.yml; a page that runs a job without one uses it too."""
    if page.endswith(("tutorial.md", "howto/README.md")):
        return []
    return [block for block in Block.all_of((DOCS / "howto/README.md").read_text("utf-8")) if block.path]


def _sessions(text: str) -> list[tuple[str, str]]:
    """(command, what is shown below it)"""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [(command, shown) for part in parts for command, _, shown in [part.partition("\n")]]


def _run_shown(command: str, shown: str, folder: Path) -> None:
    command = command.split("  #")[0]
    codes = re.findall(r"BF\d{3}[^\n]*", shown)
    if not codes:
        _run(f"{command} || [ $? = 3 ]", folder)
        return
    done = _process(command, folder)
    assert done.returncode not in (0, 70), done.stdout
    for code in codes:
        assert code in done.stderr, done.stderr


def _run(commands: str, folder: Path) -> None:
    done = _process(commands, folder)
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"


def _process(commands: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """With `batchforge` and its `python` on the path. What would go to Claude goes to the emulator; `cd` lasts for the
    page."""
    tools = folder / ".tools"
    if not tools.exists():
        tools.mkdir()
        for name, words in {"batchforge": ' -c "from batchforge.cli import main; main()"', "python": ""}.items():
            tool = tools / name
            tool.write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
            tool.chmod(0o755)
    here = tools / "here"
    start = here.read_text().strip() if here.exists() else str(folder)
    script = commands.replace("--target prod", "--target local")
    script = f"set -e\ncd '{start}'\n{script}\npwd > '{here}'\n"
    environment = child_environment(PATH=f"{tools}:{os.environ['PATH']}")
    return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)


def _check_project(root: Path) -> None:
    problems = ProblemList()
    load_jobs(load_project(root, problems=problems), problems)
    assert problems.items == []
