"""Plans of a small project, for tests that look into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from batchforge import pipeline
from batchforge.pipeline import ProjectPlan
from batchforge.planning.planner import JobPlan
from batchforge.running.run_options import RunOptions
from tests.builders import ProjectFiles


@contextmanager
def planned(project: ProjectFiles, *names: str, **options: Any) -> Iterator[Sequence[JobPlan]]:
    """The plans of its jobs, in the order of their names."""
    with project_plan(project, *names, **options) as plan:
        yield plan.plans


@contextmanager
def project_plan(
    project: ProjectFiles, *names: str, target: str | None = None, **options: Any
) -> Iterator[ProjectPlan]:
    with pipeline.plan(*project.load(names, target), RunOptions(command="plan", **options)) as plan:
        yield plan


def plan_json(project: ProjectFiles, *words: str) -> dict[str, Any]:
    """What `batchforge plan --output json` says."""
    finished = project.cli("plan", "--output", "json", *words)
    assert finished.exit_code == 0, finished.stderr
    value: dict[str, Any] = finished.json()
    return value
