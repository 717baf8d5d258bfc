"""Selections mean what they mean in dbt: each case was made by running dbt-core (see make_dbt_cases.py)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from batchforge.errors import BatchForgeError, ProblemList
from batchforge.project import Project
from batchforge.selection.choosing import Wanted, choose
from batchforge.selection.selectors_file import load_selectors
from batchforge.source_tree import SourceTree
from batchforge.spec import JobSpec
from tests.project_files import load, write_files

Json = dict[str, Any]
DBT: Json = json.loads((Path(__file__).parent / "dbt_cases.json").read_text("utf-8"))
PROJECTS: Mapping[str, Json] = {project["name"]: project for project in DBT["projects"]}
CASES = [
    pytest.param(name, case, id=f"{name}-{number}")
    for name, project in PROJECTS.items()
    for number, case in enumerate(project["cases"])
]


def project_files(project: Json, selectors: list[Json] = []) -> dict[str, str | bytes]:  # noqa: B006 - never changed
    """The same graph as a project of ours."""
    exposures = {
        name: {
            "type": "dashboard",
            "depends_on": [*each["jobs"], *({"source": source} for source in each["sources"])],
            "tags": each["tags"],
        }
        for name, each in project["exposures"].items()
    }
    settings = {
        "name": "shop",
        "version": 1,
        "targets": {"local": {"type": "emulator"}},
        "defaults": {"model": "claude-haiku-5-5", "max_tokens": 100},
        "sources": {
            name: {"file": f"data/{name}.csv", "tags": each["tags"], "tests": declared_tests(each)}
            for name, each in project["sources"].items()
        },
        "exposures": exposures,
    }
    files: dict[str, str | bytes] = {"batchforge.yml": json.dumps(settings)}
    if selectors:
        files["selectors.yml"] = json.dumps({"selectors": selectors})
    for name, text in project.get("included", {}).items():
        files[f"prompts/{name}.md"] = text
    for name, reads in project.get("singular", {}).items():
        tables = ", ".join(f"{{{{ output('{each}') }}}}" for each in reads)
        files[f"tests/{name}.sql"] = f"select * from {tables}"
    for name, each in project["jobs"].items():
        folder = f"{each['folder']}/" if each["folder"] else ""
        files[f"jobs/{folder}{name}.yml"] = json.dumps(job_file(each))
    return files


def declared_tests(described: Json) -> list[Json]:
    return [{"not_null": "a", "name": name} for name in described.get("tests", ())]


def job_file(job: Json) -> Json:
    source = [{"source": name} for name in job["sources"]]
    refs = [{"ref": name} for name in job["parents"]]
    included = "".join(f"{{% include '{name}.md' %}}" for name in job["includes"])
    group = {"group": job["group"]} if job["group"] else {}
    return {
        **group,
        "input": [*source, *refs, {"rows": [{"a": 1}]}][0],
        "depends_on": job["parents"],
        "user": f"{job['prompt']} {included}",
        "tests": declared_tests(job),
        **{name: job[name] for name in ("tags", "meta", "mode", "enabled")},
    }


@dataclass(frozen=True)
class Loaded:
    project: Project
    jobs: Mapping[str, JobSpec]
    state: str | None


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def load_once(name: str, default: str | None) -> Loaded:
        described = PROJECTS[name]
        selectors = [{**each, "default": each["name"] == default} for each in described.get("selectors", [])]
        root = write_files(tmp_path_factory.mktemp(name), project_files(described, selectors))
        project, jobs, problems = load(root)
        assert problems == []
        return Loaded(project, jobs, state_of(tmp_path_factory.mktemp("state"), described))

    return load_once


def state_of(folder: Path, described: Json) -> str | None:
    """What an earlier run would have left: a manifest and results."""
    if "before" not in described:
        return None
    from batchforge.requests.manifest import manifest_of

    project, jobs, problems = load(write_files(folder / "before", project_files(described["before"])))
    assert problems == []
    (folder / "manifest.json").write_text(json.dumps(manifest_of(project, jobs, {}, "local")))
    results = {name: {"status": status} for name, status in described["results"].items()}
    (folder / "run_results.json").write_text(json.dumps({"jobs": results}))
    return str(folder)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_selection_means_what_dbt_takes_it_for(loaded: Any, name: str, case: Json) -> None:
    known: Loaded = loaded(name, case.get("default"))
    wanted = Wanted(
        select=tuple(case.get("select", ())),
        exclude=tuple(case.get("exclude", ())),
        selector=case.get("selector"),
        state=known.state,
    )
    if case["selected"] is None:
        with pytest.raises(BatchForgeError):
            choose(known.project, known.jobs, wanted)
    else:
        ids = choose(known.project, known.jobs, wanted).ids
        assert sorted(map(without_owner, ids)) == case["selected"]


def without_owner(node: str) -> str:
    """dbt names a test by its name alone, which is one of its own in all of the project."""
    return f"test:{node.rpartition('.')[2]}" if node.startswith("test:") else node


@pytest.mark.parametrize("selector", DBT["selectors_alone"], ids=lambda each: each["name"])
def test_a_selector_that_dbt_refuses_is_refused(tmp_path: Path, selector: Json) -> None:
    definition = {name: selector[name] for name in ("name", "definition")}
    write_files(tmp_path, {"selectors.yml": json.dumps({"selectors": [definition]})})
    problems = ProblemList()
    load_selectors(SourceTree(tmp_path), problems)
    assert bool(problems.errors) == selector["is_refused"]
