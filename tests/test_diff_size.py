"""One word of a prompt over many rows: seconds, and memory that does not grow with them."""

from __future__ import annotations

from pathlib import Path

from tests.peak_memory import peak_of
from tests.reviewing import ReviewedProject

REVIEW = """
import sys
from pathlib import Path
from batchforge.review.reviewing import ReviewOptions, review
(job,) = review(Path(sys.argv[1]), ReviewOptions(base="HEAD"), {}).jobs
assert job.rows.to_send == int(sys.argv[2]), job.rows
"""


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    peaks = []
    for rows in (2_000, 12_000):
        project = ReviewedProject(tmp_path / str(rows))
        project.write_rows([f"Row {number}. " + "More words of its own. " * 20 for number in range(rows)])
        project.repo.commit()
        project.write_job(max_tokens=None, user="Text: {{ row.text }}")
        peaks.append(peak_of(REVIEW, str(project.root), str(rows)))
    assert peaks[1] - peaks[0] < 15_000_000, peaks
