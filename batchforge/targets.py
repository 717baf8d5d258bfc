"""A target's name -> its backend, its state, and a running emulator if it is an embedded one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from batchforge.errors import ProblemList, ProjectError, StateError, UsageError
from batchforge.profiling import stage
from batchforge.project import Project
from batchforge.state.records import StateReader, StateStore
from batchforge.target import Target

if TYPE_CHECKING:
    from batchforge.backends.base import BatchBackend, Connection, FilesBackend, MessagesBackend
    from batchforge.emulator import Scenario
    from batchforge.model_check import LiveModel
    from batchforge.state.sql_state import SqlState


@dataclass(frozen=True, slots=True)
class OpenTarget:
    """A target that is ready to be run against."""

    target: Target
    state: StateStore
    backend: BatchBackend
    messages: MessagesBackend
    files: FilesBackend


@contextmanager
def open_target(project: Project, target: Target) -> Iterator[OpenTarget]:
    """State and backend of a target, closed at the end; an embedded emulator runs as long.

    Raises:
        StateError: the state holds answers of another origin, or cannot be used.
        ProjectError: the key is missing, or may not be sent to the target's host.
    """
    with ExitStack() as stack:
        state = open_state(project, target)
        stack.callback(state.close)
        connection = stack.enter_context(_connection(project, target))
        apis = [_AtFirstUse(partial(make, connection)) for make in (_batch_api, _messages_api, _files_api)]
        for api in apis:
            stack.callback(api.close)
        backend, messages, files = (cast("Any", api) for api in apis)
        yield OpenTarget(target, state, backend, messages, files)


class _AtFirstUse:
    """Stands for a backend and makes it when it is first used: a run that has nothing to send or to fetch does without
    the SDK, whose import takes 1.1 s of CPU and 60 MB."""

    def __init__(self, make: Callable[[], BatchBackend | MessagesBackend | FilesBackend]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: BatchBackend | MessagesBackend | FilesBackend | None = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:  # workers use it at the same time
            if self._made is None:
                with stage("load the SDK"):
                    self._made = self._make()
        return getattr(self._made, name)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()


def _batch_api(connection: Connection) -> BatchBackend:
    from batchforge.backends.batch import BatchApi

    return BatchApi(connection)


def _messages_api(connection: Connection) -> MessagesBackend:
    from batchforge.backends.sync import MessagesApi

    return MessagesApi(connection)


def _files_api(connection: Connection) -> FilesBackend:
    from batchforge.backends.files import FilesApi

    return FilesApi(connection)


def open_state(project: Project, target: Target) -> StateStore:
    """The target's state, for writing; made if there is none.

    Raises:
        StateError: BF506 it holds answers of another origin.
    """
    from batchforge.state import stores

    state = stores.open_state(state_url(project, target), stores.Opening(folder=project.state_folder))
    held, wanted = state.origin(), target.origin()
    if held is None:
        state.set_origin(wanted)
        held = state.origin()
    if held != wanted:
        state.close()
        raise _other_origin(str(held), str(wanted), target)
    return state


@contextmanager
def read_state(project: Project, target: Target) -> Iterator[StateReader | None]:
    """The target's state, for reading; None where there is none yet."""
    from batchforge.state.stores import Opening, open_state

    if not has_state(project, target):
        yield None
        return
    state = open_state(state_url(project, target), Opening(read_only=True, folder=project.state_folder))
    try:
        held = state.origin()
        if held is not None and held != target.origin():
            raise _other_origin(str(held), str(target.origin()), target)
        yield state
    finally:
        state.close()


@contextmanager
def state_if_told(project: Project, target: Target, problems: ProblemList) -> Iterator[StateReader | None]:
    """As `read_state`. Where a variable of the target's addresses is not set, as on runners that get no secrets, there
    is none, and a warning says so: what is planned without state is the most that may have to be sent."""
    with ExitStack() as stack:
        state = None
        try:
            state = stack.enter_context(read_state(project, target))
        except ProjectError as exc:
            (problem, *_) = exc.problems
            if problem.code != "BF132":
                raise
            message = f"{problem.message} So its state is not read, and what was answered before is not known"
            problems.warn("BF132", message, location=problem.location, hint=problem.hint)
        yield state


def live_models(project: Project | None, target: Target) -> list[LiveModel]:
    """What the target's API lists now; a target outside of any project can only be Claude's API.

    Raises:
        ApiError: it gives no list.
    """
    from batchforge.backends.models import list_models

    with _connection(project, target) as connection:
        return list_models(connection)


def emulator_database(project: Project, target: Target) -> Path:
    """Where the embedded emulator of a target keeps its batches."""
    return project.state_folder / f"emulator-{target.name}.db"


def state_url(project: Project, target: Target) -> str:
    """Where the target's state is; it may hold a password, and is shown by `stores.shown_url` only."""
    return target.state_url(project)


def has_state(project: Project, target: Target) -> bool:
    from batchforge.state.stores import state_exists

    return state_exists(state_url(project, target))


def existing_state(project: Project, target: Target, *, read_only: bool = True) -> SqlState:
    """The target's state as it is, whoever's answers it holds.

    Raises:
        UsageError: BF908 there is none yet.
    """
    from batchforge.state.stores import Opening, open_state

    if not has_state(project, target):
        raise UsageError("BF908", f"There is no state of target `{target.name}` yet.", hint="The first run makes it.")
    return open_state(state_url(project, target), Opening(read_only=read_only, folder=project.state_folder))


def _other_origin(held: str, wanted: str, target: Target) -> StateError:
    return StateError(
        "BF506",
        f"the state of target `{target.name}` holds answers of {held}, and the target is {wanted}",
        hint="Give the target a `state:` of its own. Answers of different origins are never mixed.",
        location=target.location,
    )


@contextmanager
def _connection(project: Project | None, target: Target) -> Iterator[Connection]:
    from batchforge.backends.base import Connection

    if project is not None and target.type == "emulator":
        with _emulator(project, target) as base_url:
            yield Connection(base_url, "emulator", target.timeout_s)
        return
    yield connection_of(target)


def connection_of(target: Target) -> Connection:
    """How a server that is not embedded is spoken to."""
    from batchforge.backends.base import Connection

    headers = target.headers()
    if target.workspace_id:
        headers["anthropic-workspace-id"] = target.workspace_id
    return Connection(target.base_url(), target.api_key(), target.timeout_s, target.anthropic_version, headers)


@contextmanager
def _emulator(project: Project, target: Target) -> Iterator[str]:
    """Batches live in a file of their own, so that one process can submit and another collect."""
    from batchforge.emulator import EmulatorServer

    database = emulator_database(project, target)
    database.parent.mkdir(parents=True, exist_ok=True)
    with EmulatorServer(database, scenario=_scenario(project, target)) as server:
        yield server.base_url


def _scenario(project: Project, target: Target) -> Scenario:
    from batchforge.emulator import Scenario, ScenarioError, load_scenario

    if target.scenario is None:
        return Scenario(processing_time_s=target.processing_s, retry_after_s=None)
    try:
        return load_scenario(project.tree.local_path(target.scenario))
    except ScenarioError as exc:
        raise ProjectError("BF143", f"the scenario of target `{target.name}`: {exc}", location=target.location) from exc
