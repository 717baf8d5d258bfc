"""Rendered prompts as files: stable bytes, readable, checked, and a merge conflict settled by writing again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from batchforge.errors import ProjectError
from batchforge.review.sample_writing import check_prompts, write_prompts
from batchforge.review.samples import read_samples
from tests.reviewing import ReviewedProject

PAGE = """\
# about

<!-- Written by `batchforge prompts write`, which also settles a merge conflict. Edits are lost. -->

What all rows share; `⟨differs by row⟩` stands for each text of a row's own:

```text
model: "claude-haiku-5-5"
max_tokens: 200
thinking:
  {
    "type": "disabled"
  }
[system]
Be brief.
Say what the text is about.
[user]
⟨differs by row⟩
```

## Row `2`

```text
[message]
A green train.
```
"""


@pytest.fixture
def project(tmp_path: Path) -> ReviewedProject:
    return ReviewedProject(tmp_path / "project")


def write(project: ReviewedProject, *names: str, rows: int | None = None) -> list[str]:
    """The files that changed."""
    written = write_prompts(*project.load(names), rows=rows, whole_project=not names)
    return [file.path for file in written if file.is_changed]


def check(project: ReviewedProject) -> list[str]:
    try:
        check_prompts(*project.load())
    except ProjectError as exc:
        return [problem.message for problem in exc.problems]
    return []


def test_a_page_holds_what_is_shared_and_the_sample_rows(project: ReviewedProject) -> None:
    assert write(project, rows=1) == ["samples/about.jsonl", "samples/about.md"]
    assert project.path("samples/about.md").read_text() == PAGE
    assert write(project, rows=1) == []
    assert check(project) == []


def test_without_the_data_pages_are_written_from_the_samples_that_are_there(project: ReviewedProject) -> None:
    write(project, rows=2)
    project.path("data/rows.jsonl").unlink()
    project.replace("prompts/inner.j2", "Be ", "Always be ")
    assert check(project) == ["samples/about.md is not what the prompt is now."]
    assert write(project) == ["samples/about.md"]
    assert "Always be brief." in project.path("samples/about.md").read_text()


def test_what_changes_no_request_leaves_the_page_as_it_is(project: ReviewedProject) -> None:
    write(project, rows=1)
    project.replace("prompts/about.md.j2", "Say", "{# a comment #}Say")
    project.write_job(max_tokens=None, description="Another.", tags=["nightly"])
    assert check(project) == []


def test_a_stale_missing_or_leftover_page_fails_the_check(project: ReviewedProject) -> None:
    assert check(project) == ["samples/about.md is missing."]
    write(project, rows=1)
    project.path("jobs/about.yml").rename(project.path("jobs/other.yml"))
    project.write("samples/notes.md", "# Our own notes\n")
    assert check(project) == [
        "samples/other.md is missing.",
        "samples/about.md belongs to no job.",
        "samples/about.jsonl belongs to no job.",
    ]
    finished = project.cli("prompts", "check")
    assert finished.exit_code == 2
    assert "BF311" in finished.stderr
    assert write(project) == ["samples/other.md", "samples/about.md", "samples/about.jsonl"]
    assert not project.path("samples/about.md").exists()
    assert project.path("samples/notes.md").exists()
    assert project.cli("prompts", "check").stdout == "1 page fresh\n"


def test_rows_of_other_jobs_cannot_be_sampled(project: ReviewedProject) -> None:
    project.write_job("second", max_tokens=None, input={"ref": "about"}, output={"file": "outputs/second.jsonl"})
    with pytest.raises(ProjectError, match="BF312"):
        write(project, "second", rows=3)
    assert write(project, "second") == ["samples/second.md"]


def test_a_merge_conflict_is_settled_by_writing_again(project: ReviewedProject) -> None:
    write(project, rows=2)
    facts, *rows = project.path("samples/about.jsonl").read_text().splitlines()
    better = facts.replace('"results": 0', '"results": 90, "input_ratio": 1.1, "output_tokens": 30')
    conflict = ["<<<<<<< HEAD", facts, "=======", better, ">>>>>>> edit", *rows, *rows[:1]]
    project.write("samples/about.jsonl", "\n".join(conflict) + "\n")
    page = project.path("samples/about.md")
    page.write_text("<<<<<<< HEAD\n" + page.read_text())
    write(project)
    samples = read_samples(project.load()[0].tree, "about")
    assert samples is not None
    assert (samples.learnt.results, len(samples.rows)) == (90, 2)
    assert check(project) == []


def test_what_results_have_taught_is_written_and_not_forgotten_where_there_is_no_state(
    tmp_path: Path, emulator: object
) -> None:
    project = ReviewedProject(tmp_path / "project", emulator)  # type: ignore[arg-type]
    project.run()
    write(project, rows=2)
    first = project.path("samples/about.jsonl").read_bytes()
    samples = read_samples(project.load()[0].tree, "about")
    assert samples is not None
    assert samples.rows_in_all == 3
    assert samples.learnt.results == 3
    assert samples.learnt.output_tokens
    shutil.rmtree(project.path(".batchforge"))
    write(project, rows=2)
    assert project.path("samples/about.jsonl").read_bytes() == first


def test_a_text_full_of_fences_stays_inside_its_own(project: ReviewedProject) -> None:
    project.write_rows(["```\n# not a heading\n````\n</script>\u202e"])
    write(project, rows=1)
    text = project.path("samples/about.md").read_text()
    assert "`````text\n[message]\n```\n# not a heading\n````\n</script>\\u202e\n`````" in text
