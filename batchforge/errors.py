"""Errors a user can act on: a stable code, a message, a place, what to do, and the exit code of the command.

One request that failed out of 40,000 is a value (`results.RequestResult`), not an exception. Whatever reaches the
command line and is not a `BatchForgeError` is our own bug and exits with 70.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

EXIT_INTERRUPTED, EXIT_OUR_BUG = 130, 70


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a project file: path as the user would type it, line and column from 1."""

    path: str
    line: int | None = None
    column: int | None = None
    excerpt: str = ""
    """The source line, for the caret. Empty when there is none to show."""

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or will disappoint): what `parse` lists, one below the other."""

    code: str
    """A key of `error_codes.ERROR_CODES`, e.g. BF101."""
    message: str
    location: Location | None = None
    hint: str = ""
    severity: Severity = Severity.ERROR


class BatchForgeError(Exception):
    """Something the user can act on: shown without a traceback, as problems with their places and hints."""

    exit_code = 2

    def __init__(self, code: str, message: str, *, hint: str = "", location: Location | None = None) -> None:
        super().__init__(message)
        self.problems: tuple[Problem, ...] = (Problem(code, message, location, hint),)

    def __str__(self) -> str:
        return "\n".join(
            f"{p.code} {p.location}: {p.message}" if p.location else f"{p.code} {p.message}" for p in self.problems
        )


class ProjectError(BatchForgeError):
    """The project's files or inputs are wrong. Holds every problem that was found, not just the first."""

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> ProjectError:
        found = tuple(problems)
        error = cls(found[0].code, found[0].message)
        error.problems = found
        return error


class UsageError(BatchForgeError):
    """The command was asked for something that does not exist or does not go together."""


class RowsFailed(BatchForgeError):
    """The command did its work, and some rows or tests failed."""

    exit_code = 1


class StatePending(BatchForgeError):
    """Batches are still in flight."""

    exit_code = 3


class StateLocked(BatchForgeError):
    """Another process holds the state."""

    exit_code = 4


class BudgetExceeded(BatchForgeError):
    """A budget, a gate or a policy refused the run before anything was sent."""

    exit_code = 5


class StateError(BatchForgeError):
    """The state cannot be used: wrong origin, newer schema, damaged, not writable."""


class ApiError(BatchForgeError):
    """Claude's API refused or could not be reached, in a way that stops the run."""


@dataclass(slots=True)
class ProblemList:
    """Collects problems so that a user sees all of them at once."""

    items: list[Problem] = field(default_factory=list)

    def add(self, code: str, message: str, *, location: Location | None = None, hint: str = "") -> None:
        self.items.append(Problem(code, message, location, hint))

    def warn(self, code: str, message: str, *, location: Location | None = None, hint: str = "") -> None:
        self.items.append(Problem(code, message, location, hint, Severity.WARNING))

    def extend(self, error: BatchForgeError) -> None:
        self.items.extend(error.problems)

    @property
    def errors(self) -> list[Problem]:
        return [p for p in self.items if p.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Problem]:
        return [p for p in self.items if p.severity is Severity.WARNING]

    def raise_if_any(self) -> None:
        if self.errors:
            raise ProjectError.of(self.items)
