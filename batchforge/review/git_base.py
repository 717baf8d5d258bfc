"""Which commit a change is compared with: the merge base of the head and a branch, in the history that is here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batchforge.errors import ProjectError, UsageError
from batchforge.review.git_objects import Repository

SHORT = 12


@dataclass(frozen=True, slots=True)
class Revision:
    """One side of a comparison."""

    name: str
    """As it was asked for, or found: origin/main, HEAD~2; `work tree` for the files as they are."""
    commit: str
    """Full hash; of a work tree, of the commit that it stands on, empty where there is none."""
    is_work_tree: bool = False
    is_dirty: bool = False

    def __str__(self) -> str:
        if self.is_work_tree:
            return f"work tree at {self.commit[:SHORT] or 'no commit'}" + (" with changes" if self.is_dirty else "")
        return self.commit[:SHORT] if self.commit.startswith(self.name) else f"{self.commit[:SHORT]} ({self.name})"


def find_head(repository: Repository, name: str | None) -> Revision:
    """The named commit, or the work tree with all that is not committed.

    Raises:
        UsageError: BF172 the name means no commit.
    """
    if name is not None:
        return Revision(name, _named(repository, name))
    return Revision("work tree", repository.commit("HEAD") or "", True, repository.is_dirty())


def find_base(repository: Repository, head: Revision, name: str | None, environment: Mapping[str, str]) -> Revision:
    """The merge base of the head and the named branch, or the branch that the change is meant for.

    Raises:
        UsageError: BF172 the name means no commit. ProjectError: BF171 no branch to compare with is found, BF173 the
            histories do not meet, or not in this clone.
    """
    if not head.commit:
        raise ProjectError("BF171", "There is no commit yet to compare with.", hint="Commit the project first.")
    chosen = name or _default_branch(repository, environment)
    tip = _named(repository, chosen)
    base = repository.merge_base(tip, head.commit)
    if base is None and tip in repository.recorded_parents(head.commit):
        base = tip  # a merge commit made for a pull request, in a clone of depth one
    if base is None:
        raise _no_merge_base(repository, chosen)
    return Revision(chosen, base)


def _named(repository: Repository, name: str) -> str:
    commit = repository.commit(name)
    if commit is None:
        hint = "Name a branch, tag or commit of this clone; `git fetch origin NAME` brings one that it lacks."
        raise UsageError("BF172", f"`{name}` is no commit here.", hint=hint)
    return commit


def _default_branch(repository: Repository, environment: Mapping[str, str]) -> str:
    candidates = dict.fromkeys(_candidates(repository, environment))
    found = next((name for name in candidates if repository.commit(name)), None)
    if found is not None:
        return found
    where = "this submodule" if repository.is_submodule() else "this clone"
    raise ProjectError(
        "BF171",
        f"There is no branch in {where} to compare with; looked for {', '.join(candidates)}.",
        hint="Name one with --base. On a runner, fetch it first: `git fetch origin main`, or `fetch-depth: 0`.",
    )


def _candidates(repository: Repository, environment: Mapping[str, str]) -> Iterator[str]:
    """What the runner says, then what the remote calls its main branch, then what is usual."""
    remotes = repository.remotes()
    for variable in ("GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"):
        if branch := environment.get(variable):
            yield from (f"{remote}/{branch}" for remote in remotes)
            yield branch
            if commit := environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA"):
                yield commit
    for remote in remotes:
        yield from (f"{remote}/{branch}" for branch in ("HEAD", "main", "master"))
    yield from ("main", "master")


def _no_merge_base(repository: Repository, name: str) -> ProjectError:
    if repository.is_shallow():
        return ProjectError(
            "BF173",
            f"The history in this shallow clone ends before it meets `{name}`.",
            hint="`git fetch --unshallow`, or `fetch-depth: 0` in the checkout step.",
        )
    return ProjectError(
        "BF173",
        f"HEAD and `{name}` have no common commit.",
        hint="Name with --base a commit that the change was made from.",
    )
