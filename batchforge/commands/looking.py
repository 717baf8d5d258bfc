"""What the commands share that look things up: the state of a target, and how their lines are printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from batchforge.finding import StateLooker
    from batchforge.project import Project
    from batchforge.target import Target


@contextmanager
def looking_into(project: Project, target: Target) -> Iterator[StateLooker]:
    """
    Raises:
        UsageError: BF908 nothing was run against the target yet.
    """
    from batchforge.finding import StateLooker
    from batchforge.targets import read_state

    with read_state(project, target) as state:
        if state is None:
            raise no_state(target)
        yield StateLooker(state)


def no_state(target: Target) -> Exception:
    from batchforge.errors import UsageError

    return UsageError("BF908", f"There is no state of target `{target.name}` yet.", hint="The first run makes it.")


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
