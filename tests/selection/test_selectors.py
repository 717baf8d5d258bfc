"""Selectors of YAML files have names, may name each other, and say what is wrong with them and where."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batchforge.errors import ProblemList, UsageError
from batchforge.selection.choosing import Choice, Wanted, choose
from batchforge.selection.selectors_file import load_selectors
from batchforge.source_tree import SourceTree
from tests.project_files import PROJECT, lines_of, load, write_files

JOB = "input: {file: a.csv}\nuser: x\n"
FILES = {
    "batchforge.yml": PROJECT,
    "prompts/categories.yml": "a: b\n",
    "jobs/raw/clean.yml": JOB + "tags: [nightly]\n",
    "jobs/raw/extract.yml": JOB + "tags: [nightly, slow]\n",
    "jobs/report.yml": "input: {ref: clean}\nuser: x\n",
    "jobs/old.yml": JOB + "enabled: false\n",
}


def chosen(root: Path, wanted: Wanted) -> Choice:
    project, jobs, problems = load(root)
    assert problems == []
    return choose(project, jobs, wanted)


def names(choice: Choice) -> list[str]:
    return sorted(job.name for job in choice.jobs)


def problems_with(root: Path, text: str) -> list[str]:
    problems = ProblemList()
    load_selectors(SourceTree(write_files(root, {"selectors.yml": text})), problems)
    return lines_of(problems.items)


def test_selectors_of_several_files_name_each_other_in_any_order(tmp_path: Path) -> None:
    files = {
        "selectors.yml": "selectors: [{name: all_raw, definition: {union: [selector:slow, clean]}}]\n",
        "selectors/team/a.yml": "selectors: [{name: slow, definition: {method: tag, value: slow, exclude: [old]}}]\n",
    }
    root = write_files(tmp_path, {**FILES, **files})
    assert names(chosen(root, Wanted(selector="all_raw"))) == ["clean", "extract"]
    assert names(chosen(root, Wanted(select=("selector:all_raw+1",)))) == ["clean", "extract", "report"]
    assert names(chosen(root, Wanted(select=("selector:all_raw,tag:slow report",)))) == ["extract", "report"]
    assert names(chosen(root, Wanted(exclude=("selector:slow",)))) == ["clean", "report"]


def test_a_selector_by_reference_keeps_its_own_exclude_and_graph(tmp_path: Path) -> None:
    selectors = """\
selectors:
  - {name: raw, definition: {path: jobs/raw}}
  - {name: raw_and_more, definition: {method: selector, value: raw, children: true, exclude: [extract]}}
"""
    root = write_files(tmp_path, {**FILES, "selectors.yml": selectors})
    assert names(chosen(root, Wanted(selector="raw_and_more"))) == ["clean", "report"]


def test_the_default_holds_where_nothing_is_asked_for(tmp_path: Path) -> None:
    selectors = "selectors: [{name: usual, default: true, definition: tag:slow}]\n"
    root = write_files(tmp_path, {**FILES, "selectors.yml": selectors})
    assert names(chosen(root, Wanted())) == ["extract"]
    assert names(chosen(root, Wanted(names=("report",)))) == ["report"]
    assert names(chosen(root, Wanted(exclude=("report",)))) == ["clean", "extract"]


def test_words_beside_a_selector_are_not_looked_at_and_that_is_said(tmp_path: Path) -> None:
    root = write_files(tmp_path, {**FILES, "selectors.yml": "selectors: [{name: s, definition: tag:slow}]\n"})
    choice = chosen(root, Wanted(selector="s", exclude=("extract",)))
    assert names(choice) == ["extract"]
    assert [problem.code for problem in choice.warnings] == ["BF924"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{union: b}", "`union` is a list of definitions."),
        ("{union: [b], tag: c}", "`union` stands alone."),
        ("{tag: [b]}", "`tag` takes one value."),
        ("{method: tag, value: b, parent: true}", "`parent` is not a setting of a definition."),
        ("{tag: b, path: c}", "A definition of several settings needs `method` and `value`."),
        ("selector:b", "There is no selector `b`, which `a` names."),
        ("selector:a", "These selectors name each other: a -> a."),
        ("x}, {name: a, definition: y", "The selector `a` is also defined in selectors.yml:1:20."),
        ("x, default: true}, {name: b, default: true, definition: y", "`a` is the default selector already."),
    ],
)
def test_what_is_wrong_with_a_selector_is_said_at_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems_with(tmp_path, f"selectors: [{{name: a, definition: {text}}}]\n")
    assert re.fullmatch(rf"BF195 selectors\.yml:1:\d+: {re.escape(problem)}", found)


def test_a_word_in_a_selector_that_cannot_be_read_names_its_place(tmp_path: Path) -> None:
    (problem,) = problems_with(tmp_path, "selectors: [{name: a, definition: tags:b}]\n")
    assert problem.startswith("BF902 selectors.yml:1:35: `tags:b` does not say which jobs are meant")


def test_a_selector_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    root = write_files(tmp_path, {**FILES, "selectors.yml": "selectors: [{name: nightly, definition: x}]\n"})
    for wanted in (Wanted(selector="nigthly"), Wanted(select=("clean", "selector:nigthly"))):
        with pytest.raises(UsageError, match="BF921") as error:
            chosen(root, wanted)
        assert error.value.problems[0].hint == "Did you mean `nightly`?"


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("claen", "Did you mean `clean`?"),
        ("tag:nightl", "Did you mean `nightly`?"),
        ("old", "The job is disabled: set `enabled: true` in jobs/old.yml."),
        ("zzz*", "`batchforge ls` lists what there is."),
    ],
)
def test_a_word_that_selects_nothing_is_a_warning_with_a_hint(tmp_path: Path, word: str, hint: str) -> None:
    choice = chosen(write_files(tmp_path, FILES), Wanted(select=(word, "clean"), exclude=()))
    assert names(choice) == ["clean"]
    assert [(problem.code, problem.hint) for problem in choice.warnings] == [("BF923", hint)]


def test_a_job_that_is_named_must_be_there_and_enabled(tmp_path: Path) -> None:
    root = write_files(tmp_path, FILES)
    assert names(chosen(root, Wanted(names=("clean", "+report")))) == ["clean", "report"]
    with pytest.raises(UsageError, match="BF903"):
        chosen(root, Wanted(names=("claen",)))
    with pytest.raises(UsageError, match="BF904"):
        chosen(root, Wanted(names=("old",)))


def test_an_empty_word_selects_nothing_rather_than_everything(tmp_path: Path) -> None:
    assert names(chosen(write_files(tmp_path, FILES), Wanted(select=("",)))) == []


def test_disabled_jobs_are_chosen_only_where_they_are_asked_for(tmp_path: Path) -> None:
    project, jobs, _ = load(write_files(tmp_path, FILES))
    choice = choose(project, jobs, Wanted(names=("old",)), with_disabled=True)
    assert [(job.name, job.enabled) for job in choice.jobs] == [("old", False)]
