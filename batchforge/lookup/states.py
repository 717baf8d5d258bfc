"""The states of a project's targets, opened to be looked into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from batchforge.errors import BatchForgeError, UsageError
from batchforge.lookup.finding import Found, StateLooker
from batchforge.project import Project
from batchforge.target import Target
from batchforge.targets import read_state

_IDS = "Ids are bf1_… (custom_id), msgbatch_…, msg_…, req_…, or a run's as `batchforge runs` lists them."


@contextmanager
def looking_into(project: Project, target: Target) -> Iterator[StateLooker]:
    """
    Raises:
        UsageError: BF908 nothing was run against the target yet.
    """
    with read_state(project, target) as state:
        if state is None:
            hint = "The first run makes it."
            raise UsageError("BF908", f"There is no state of target `{target.name}` yet.", hint=hint)
        yield StateLooker(state)


def find_in(project: Project, target_name: str | None, text: str, limit: int) -> Found:
    """What the first state says that knows the id: that of one target, or any, the default target's first.

    Raises:
        UsageError: BF940 none knows it.
    """
    by_default = sorted(project.targets, key=lambda name: (name != project.default_target, name))
    names = [project.target(target_name).name] if target_name else by_default
    found, left_out = _look(project, names, text, limit)
    if found is None:
        looked = ", ".join(name for name in names if name not in left_out) or "no target"
        hint = "; ".join(f"{name} was left out: {reason}" for name, reason in left_out.items())
        raise UsageError("BF940", f"Nothing is known of `{text}` in the state of {looked}.", hint=hint or _IDS)
    return found


def _look(project: Project, names: Sequence[str], text: str, limit: int) -> tuple[Found | None, dict[str, str]]:
    """What was found, and the targets whose state could not be read, with the reason."""
    left_out: dict[str, str] = {}
    for name in names:
        try:
            with read_state(project, project.targets[name]) as state:
                found = StateLooker(state).find(text, limit) if state else None
        except BatchForgeError as exc:
            left_out[name] = exc.problems[0].message
            continue
        if found is not None:
            return found, left_out
    return None, left_out
