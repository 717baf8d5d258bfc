"""sdist -> wheel -> a fresh virtual environment outside of the tree: what is installed runs a project."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.builders import TREE

CONFTEST_FREE = ("PYTHONPATH", "BATCHFORGE_PROJECT_DIR", "VIRTUAL_ENV")


def run(*words: str | Path, cwd: Path) -> str:
    import os

    environment = {name: value for name, value in os.environ.items() if name not in CONFTEST_FREE}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was made from the sdist, not from the tree."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, TREE, cwd=folder)
    return folder


def test_the_sdist_holds_what_a_reader_and_a_tester_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {"README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "docs/tutorial.md"}
    assert needed <= names
    assert {"schemas/job.schema.json", "tests/run.sh", "projects/tickets/batchforge.yml"} <= names
    assert not any(part in name for name in names for part in (".batchforge/", "/target/", "__pycache__"))


def test_the_wheel_holds_the_package_and_its_data_alone(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"batchforge"}
    data = {"batchforge/py.typed", "batchforge/claude_models.json", "batchforge/schemas/job.schema.json"}
    assert data <= set(names)


def test_what_is_installed_runs_a_project_outside_of_the_tree(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    programs = tmp_path / "venv/bin"
    run(programs / "pip", "install", "--quiet", wheel, cwd=tmp_path)
    batchforge = programs / "batchforge"
    assert run(batchforge, "--version", cwd=tmp_path).startswith("batchforge ")
    (tmp_path / "rows.csv").write_text("id;my text\n1;hello\n2;good bye\n")
    run(batchforge, "init", "made", "--from", "rows.csv", "--yes", cwd=tmp_path)
    assert "no errors" in run(batchforge, "parse", cwd=tmp_path / "made")
    assert "2 answered" in run(batchforge, "run", cwd=tmp_path / "made")
    where = "import batchforge.config.config_files as c; print(c.schemas_folder())"
    assert Path(run(programs / "python", "-c", where, cwd=tmp_path).strip()).is_relative_to(tmp_path / "venv")
