"""Words of --select and --exclude mean jobs, and never silently mean none."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.errors import UsageError
from batchforge.selection import parse_selection, select
from batchforge.spec import JobSpec
from tests.project_files import load, write_project

JOB = "input: {file: a.csv}\nuser: x\n"
FILES = {
    "jobs/triage/classify_tickets.yml": JOB + "tags: [nightly]\n",
    "jobs/triage/answer_tickets.yml": JOB + "tags: [nightly, slow]\n",
    "jobs/reviews.yml": JOB,
    "jobs/old.yml": JOB + "enabled: false\ntags: [slow]\n",
}


@pytest.fixture
def jobs(tmp_path: Path) -> dict[str, JobSpec]:
    return load(write_project(tmp_path, FILES))[1]


@pytest.mark.parametrize(
    ("words", "exclude", "names"),
    [
        ([], [], ["reviews", "answer_tickets", "classify_tickets"]),
        (["reviews"], [], ["reviews"]),
        (["*_tickets"], [], ["answer_tickets", "classify_tickets"]),
        (["tag:nightly"], [], ["answer_tickets", "classify_tickets"]),
        (["tag:slow"], [], ["answer_tickets"]),
        (["jobs/triage"], [], ["answer_tickets", "classify_tickets"]),
        (["./jobs/triage/"], [], ["answer_tickets", "classify_tickets"]),
        (["path:jobs/triage/a*.yml"], [], ["answer_tickets"]),
        (["jobs/reviews.yml"], [], ["reviews"]),
        (["reviews tag:slow"], [], ["reviews", "answer_tickets"]),
        (["classify_tickets", "reviews"], [], ["reviews", "classify_tickets"]),
        ([], ["tag:nightly"], ["reviews"]),
        (["tag:nightly"], ["answer_tickets"], ["classify_tickets"]),
        (["tag:nightly"], ["tag:nightly"], []),
    ],
)
def test_words_select_jobs(jobs: dict[str, JobSpec], words: list[str], exclude: list[str], names: list[str]) -> None:
    assert select(jobs, parse_selection(words, exclude)) == names


def test_disabled_jobs_are_listed_only_where_asked_for(jobs: dict[str, JobSpec]) -> None:
    assert select(jobs, parse_selection(["tag:slow"]), with_disabled=True) == ["old", "answer_tickets"]
    with pytest.raises(UsageError, match="BF904"):
        select(jobs, parse_selection(["old"]))


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("clasify_tickets", "Did you mean `classify_tickets`?"),
        ("tag:nightl", "Did you mean `nightly`?"),
        ("jobs/reviewss.yml", "Did you mean `jobs/reviews.yml`?"),
        ("zzz*", "`batchforge ls` lists all jobs."),
    ],
)
def test_a_word_that_means_no_job_is_an_error(jobs: dict[str, JobSpec], word: str, hint: str) -> None:
    for selection in (parse_selection([word]), parse_selection([], [word])):
        with pytest.raises(UsageError) as error:
            select(jobs, selection)
        assert error.value.problems[0].code == "BF903"
        assert error.value.problems[0].hint == hint


@pytest.mark.parametrize("word", ["tags:nightly", "state:modified", "tag:"])
def test_a_method_that_does_not_exist_is_an_error(word: str) -> None:
    with pytest.raises(UsageError, match="BF902"):
        parse_selection([word])
