"""Which pipeline, and a project in its repository -> the workflow files, with what can be found out filled in."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from batchforge.errors import BatchForgeError
from batchforge.project import Project
from batchforge.review.git_objects import Repository
from batchforge.target import Target

Forge = Literal["github", "gitlab"]
_FOLDERS = {"github": ".github/workflows", "gitlab": "."}
_EXTRAS = {
    "postgresql": "postgres",
    **dict.fromkeys(("file", "s3", "gs", "az"), "object-store"),
}
"""Scheme of a state's address -> what has to be installed besides to reach it."""
_ACTION = "batchforge/batchforge@v0.1.0"


def workflow_files(forge: Forge, project: Project, action: str | None) -> Mapping[str, str]:
    """Path from the repository's root -> text."""
    release, target = version("batchforge"), target_of(project)
    extra = _EXTRAS.get(str(target.settings.get("state", "")).partition("://")[0], "")
    prefix = _prefix(project.root)
    place = f"./{prefix}/" if prefix else "./"
    filled = {
        _ACTION: action or f"batchforge/batchforge@v{release}",
        "batchforge==0.1.0": f"'batchforge[{extra}]=={release}'" if extra else f"batchforge=={release}",
        "target: prod": f"target: {target.name}" + (f"\n          extras: {extra}" if extra else ""),
        "TARGET: prod": f"TARGET: {target.name}",
        'project-dir: "."': f'project-dir: "{prefix or "."}"',
        'PROJECT_DIR: "."': f'PROJECT_DIR: "{prefix or "."}"',
        "./target/ci": f"{place}target/ci",
        "./outputs": f"{place}outputs",
        "branches: [main]": f"branches: [{_main_branch(project.root)}]",
    }
    return {_path(forge, path.name): _replaced(path.read_text("utf-8"), filled) for path in _templates(forge)}


def _path(forge: Forge, name: str) -> str:
    return (Path(_FOLDERS[forge]) / name).as_posix()


def _templates(forge: Forge) -> list[Path]:
    """`batchforge/workflows` in a wheel; `projects/ci` beside the package in a checkout."""
    package = Path(__file__).parent.parent
    in_wheel = package / "workflows"
    folder = in_wheel if in_wheel.is_dir() else package.parent / "projects/ci"
    return sorted((folder / forge).glob("*.yml"))


def _replaced(text: str, filled: Mapping[str, str]) -> str:
    for old, new in filled.items():
        text = text.replace(old, new)
    return text


def target_of(project: Project) -> Target:
    """The one that asks Claude: the default one, else the first."""
    default = project.target()
    real = [target for target in project.targets.values() if target.type == "claude"]
    return default if default.type == "claude" or not real else real[0]


def repository_root(root: Path) -> Path:
    """Of the project's repository; the project's own folder where there is none."""
    prefix = _prefix(root)
    return root.parents[len(Path(prefix).parts) - 1] if prefix else root


def _prefix(root: Path) -> str:
    try:
        with Repository(root) as repository:
            return repository.prefix
    except BatchForgeError:
        return ""


def _main_branch(root: Path) -> str:
    try:
        with Repository(root) as repository:
            called = repository.ask("symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD")
            if called:
                return called.strip().removeprefix("origin/")
            names = ("main", "master", "trunk")
            return next(
                (name for name in names if repository.commit(f"origin/{name}") or repository.commit(name)), "main"
            )
    except BatchForgeError:
        return "main"
