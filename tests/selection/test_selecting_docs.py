"""docs/selecting.md shows what the commands print, character by character."""

from __future__ import annotations

from pathlib import Path

from tests.docs_pages import TREE
from tests.project_files import write_files
from tests.test_docs import Block, _process, _sessions


def test_selecting_md_shows_what_is_printed(tmp_path: Path) -> None:
    for block in Block.all_of((TREE / "docs/selecting.md").read_text("utf-8")):
        if block.path:
            write_files(tmp_path, {block.path: block.text})
        elif block.kind == "sh":
            assert _process(block.text, tmp_path).returncode == 0
        else:
            for command, shown in _sessions(block.text):
                done = _process(f"{command} 2>&1", tmp_path)
                assert done.stdout == shown, command
