"""Where a machine has no data, a few committed rows stand for all of them, and it is said that they do."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchforge.errors import ProjectError
from batchforge.results import Learnt
from batchforge.review.diff_text import render_diff_text
from batchforge.review.diff_values import Basis, Status
from batchforge.review.samples import SampleSet, read_samples
from batchforge.source_tree import SourceTree
from tests.project_files import write_files
from tests.reviewing import ReviewedProject

ROWS = [("7", {"id": "7", "text": "A red bicycle."}), ("9", {"id": "9", "text": "Ünï\u202ecode"})]


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    samples = SampleSet("samples/about.jsonl", 5_000, Learnt(900, 0.97, 43), ROWS)
    write_files(tmp_path, {"samples/about.jsonl": samples.to_text("about")})
    assert read_samples(SourceTree(tmp_path), "about") == samples
    assert [row.place for row in samples.read()] == ["samples/about.jsonl:2", "samples/about.jsonl:3"]
    assert samples.scale == 2_500
    assert read_samples(SourceTree(tmp_path), "other") is None


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("[]\n", 1), ('{"samples_of": "about", "rows_in_all": 3}\n<<<<<<< HEAD\n', 2)],
)
def test_a_file_that_is_no_file_of_samples_is_told_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    write_files(tmp_path, {"samples/about.jsonl": text})
    with pytest.raises(ProjectError) as error:
        read_samples(SourceTree(tmp_path), "about")
    (problem,) = error.value.problems
    assert problem.code == "BF310"
    assert str(problem.location) == f"samples/about.jsonl:{line}"
    assert "prompts write" in problem.hint


def test_without_the_data_the_samples_are_scaled_up_to_the_last_known_rows(tmp_path: Path) -> None:
    project = ReviewedProject(tmp_path)
    project.write(".gitignore", "data/\n")
    project.repo.git("rm", "-q", "--cached", "-r", "data")
    project.path("data/rows.jsonl").unlink()
    project.write("samples/about.jsonl", SampleSet("", 5_000, Learnt(900, 1.0, 43), ROWS).to_text("about"))
    project.repo.commit()
    project.replace("prompts/about.md.j2", "Say", "Tell")
    diff = project.review(base="HEAD")
    (job,) = diff.jobs
    assert (job.basis, job.status) == (Basis.SAMPLES, Status.MODIFIED)
    assert job.rows is not None
    assert (job.rows.to_send, job.rows.after, job.sampled_rows) == (5_000, 5_000, 2)
    assert job.is_at_most
    assert job.change is not None
    assert job.change.output_tokens == 43 * 5_000
    assert job.change.expected_pico_usd
    text = render_diff_text(diff)
    assert "at most 5,000 rows to send" in text
    assert "scaled up from 2 sample rows to the last known number of rows; learnt from 900 results" in text
