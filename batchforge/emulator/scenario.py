"""What an emulator is told to be: times, counts, order, limits, faults, rows that go wrong. From YAML or as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from batchforge.emulator.api_fault import STATUS_OF_TYPE
from batchforge.emulator.deviations import Deviation

T = TypeVar("T")

ENDPOINTS = (
    "batches.create",
    "batches.retrieve",
    "batches.list",
    "batches.cancel",
    "batches.delete",
    "batches.results",
    "messages",
    "count_tokens",
    "models.list",
    "models.retrieve",
    "files.upload",
    "files.list",
    "files.retrieve",
    "files.content",
    "files.delete",
)

FaultKind = Literal[
    "status",
    "lose_request",
    "lose_answer",
    "cut_request",
    "cut_answer",
    "slow",
    "truncate_results",
    "duplicate_results",
    "omit_results",
    "unasked_results",
    "reorder_results",
]
RowKind = Literal["errored", "expired", "canceled", "refused", "schema_breaking", "cut", "empty", "thinking_only"]


class ScenarioError(ValueError):
    """The scenario says something that the emulator does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong on the wire, for the requests that match.

    `status`: the answer is this status. `lose_request`: read, never acted upon, connection closed. `lose_answer`: acted
    upon, connection closed before the answer. `cut_request`, `cut_answer`: closed after `at_byte` bytes of the body
    of the request, or of the answer with its head. `slow`: the answer goes out at `bytes_per_s`. `…_results`: the
    lines of the results are cut in the middle of the last one, sent twice, sent without the first one, sent with one
    more that nobody asked for, or sent in another order at every read.
    """

    kind: FaultKind
    on: str = "*"
    """An endpoint, such as `batches.create`, or a group, `batches.*`."""
    times: int | None = 1
    """How often it happens; None: always."""
    skip: int = 0
    """How many matching requests pass before it happens."""
    share: float = 1.0
    """The chance that a matching request is hit, drawn from the scenario's seed."""
    delay_s: float = 0.0
    """Real seconds to wait before."""
    status: int = 500
    error_type: str | None = None
    message: str | None = None
    details: Mapping[str, Any] | None = None
    retry_after_s: float | None = None
    body: Literal["json", "html", "empty"] = "json"
    headers: Mapping[str, str] | None = None
    at_byte: int = 0
    bytes_per_s: float = 10_000.0

    def __post_init__(self) -> None:
        if self.on != "*" and not any(_covers(self.on, endpoint) for endpoint in ENDPOINTS):
            raise ScenarioError(f"no endpoint is called '{self.on}': {', '.join(ENDPOINTS)}")
        _check_share(self.share)

    def covers(self, endpoint: str) -> bool:
        return _covers(self.on, endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """Rows of a batch that end otherwise than answered; the first rule that fits a row decides."""

    outcome: RowKind
    share: float = 1.0
    """The share of the fitting rows that are hit, drawn from the scenario's seed, batch and custom_id."""
    custom_id: str = ""
    """A regular expression that is searched in the custom_id."""
    submissions: int | None = None
    """Only the first so many times that a custom_id is submitted; None: every time."""
    error_type: str = "api_error"
    message: str = "Internal server error"

    def __post_init__(self) -> None:
        _check_share(self.share)
        if self.error_type not in STATUS_OF_TYPE:
            raise ScenarioError(f"no error type is called '{self.error_type}': {', '.join(STATUS_OF_TYPE)}")
        try:
            re.compile(self.custom_id)
        except re.error as error:
            raise ScenarioError(f"custom_id '{self.custom_id}' is not a regular expression: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything about an emulator that can be chosen. What is fixed at a batch's creation stays with the batch."""

    seed: int = 0
    processing_time_s: float = 0.2
    """From a batch's creation to its end, by the emulator's clock."""
    cancel_time_s: float = 0.05
    """From a cancel to the end of the batch."""
    parallelism: int = 64
    """Rows of a batch that are worked on at the same time: siblings in one wave cannot read each other's cache."""
    retry_after_s: int | None = 10
    """The header on polls of a batch that has not ended; None: no header."""
    counts: Literal["stay", "move"] = "stay"
    """Whether request_counts move while a batch is in progress or only when it has ended. Both were seen."""
    result_order: Literal["shuffled", "as_sent", "reversed"] = "shuffled"
    list_delay_s: float = 0.0
    """How long a new batch is missing from the list."""
    cache: Literal["shared", "apart", "off"] = "shared"
    """Whether batches and synchronous messages read each other's prompt cache."""
    cache_islands: int = 1
    """Places that work on a batch, each with a cache of its own: more of them, fewer hits."""
    message_time_s: float = 0.0
    """Real seconds that a synchronous answer takes."""
    tier: Literal["start", "build", "scale"] | None = None
    """Whose rate and queue limits are enforced; None: shown, never enforced."""
    requests_per_minute: int | None = None
    queued_requests: int | None = None
    """These two replace the tier's numbers, and are enforced."""
    other_batches: int = 0
    """Batches of other people that are already in the workspace."""
    rows: tuple[RowRule, ...] = ()
    faults: tuple[Fault, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    """Where to differ from the API as it is known."""


def load_scenario(path: Path) -> Scenario:
    """A scenario from a YAML file."""
    import yaml

    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_yaml_loader())  # noqa: S506  (a SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    return scenario_from({} if data is None else data, name=str(path))


@cache
def _yaml_loader() -> Any:
    """A safe loader to which `on` is a word: only true and false are booleans."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Has resolvers of its own, so that the change stays here."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
    return Loader


def scenario_from(data: object, *, name: str = "scenario") -> Scenario:
    _check_names(data, Scenario, name)
    assert isinstance(data, dict)
    for key, kind in (("rows", RowRule), ("faults", Fault)):
        entries = data.get(key)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            _check_names(entry, kind, f"{name}: {key}[{number}]")
    return _converted(data, Scenario, name)


def fault_from(data: object) -> Fault:
    _check_names(data, Fault, "fault")
    return _converted(data, Fault, "fault")


def _converted(data: object, kind: type[T], name: str) -> T:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ScenarioError(f"{name}: {error}") from error


def _check_names(data: object, kind: type[Any], name: str) -> None:
    if not isinstance(data, dict):
        raise ScenarioError(f"{name}: a mapping is expected, not {type(data).__name__}")
    known = {field.name for field in fields(kind)}
    if unknown := [str(key) for key in data if key not in known]:
        raise ScenarioError(f"{name}: unknown {', '.join(unknown)}. Known are {', '.join(sorted(known))}.")


def _covers(pattern: str, endpoint: str) -> bool:
    if pattern.endswith("*"):
        return endpoint.startswith(pattern[:-1])
    return pattern == endpoint


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ScenarioError(f"a share lies between 0 and 1, not at {share}")
