"""`batchforge clean`: remove what can be made again. State, and outputs of real targets, are never touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import click

from batchforge.commands.options import output_option, project_dir_option, project_root
from batchforge.errors import UsageError


@click.command(name="clean")
@project_dir_option
@output_option
def command(project_dir: Path | None, output: str) -> None:
    """Remove target/: compiled requests, run results and emulated outputs.

    Answers stay in the state, so nothing is paid for twice.
    """
    from batchforge.project import ARTIFACTS_FOLDER

    folder = project_root(project_dir) / ARTIFACTS_FOLDER
    files, size_bytes = _remove(folder)
    if output == "json":
        click.echo(json.dumps({"removed": str(folder), "files": files, "bytes": size_bytes}))
    elif files:
        click.echo(f"Removed {ARTIFACTS_FOLDER}/: {files:,} files, {size_bytes:,} bytes.")
    else:
        click.echo(f"Nothing to remove in {ARTIFACTS_FOLDER}/.")


def _remove(folder: Path) -> tuple[int, int]:
    if folder.is_symlink():
        hint = "Remove the link yourself, if that is what you want."
        raise UsageError("BF906", f"{folder} is a symbolic link; what it leads to is not removed.", hint=hint)
    if not folder.is_dir():
        return 0, 0
    sizes = [path.lstat().st_size for path in _files(folder)]
    try:
        shutil.rmtree(folder)
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
        hint = "Close what uses it, or change its permissions."
        raise UsageError("BF906", f"{exc.filename} cannot be removed: {reason}.", hint=hint) from exc
    return len(sizes), sum(sizes)


def _files(folder: Path) -> list[Path]:
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
