"""batchforge.yml -> `Project`: its name, targets (resolved lazily), defaults, and where things live."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchforge.config.config_files import read_config_file
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import BatchForgeError, Location, ProblemList, ProjectError, UsageError
from batchforge.nearest import did_you_mean
from batchforge.profiling import stage
from batchforge.source_tree import SourceTree
from batchforge.target import ENV_VAR, KEY_HEADERS, STATE_SCHEMES, Origin, Target, checked_url, is_loopback

if TYPE_CHECKING:
    from batchforge.claude_models import PriceTable
    from batchforge.connection import Connection
    from batchforge.spec import ExposureSpec, SourceSpec

__all__ = ["Origin", "Project", "Target", "find_project", "load_project"]

PROJECT_FILE = "batchforge.yml"
STATE_FOLDER = ".batchforge"
ARTIFACTS_FOLDER = "target"


@dataclass(frozen=True, slots=True)
class Project:
    name: str
    tree: SourceTree
    targets: Mapping[str, Target]
    default_target: str
    defaults: Mapping[str, ConfigNode]
    """Settings for jobs that do not set them, with their places."""
    models: Mapping[str, str]
    defer_to: str | None = None
    """The target whose answers --defer reads where --state is a commit; None: the default target."""
    vars: Mapping[str, Any] = field(default_factory=dict)
    """Values of `vars:`, and of --vars where they name one of these."""
    required_vars: Mapping[str, Location] = field(default_factory=dict)
    """Variables that a job or --vars has yet to give."""
    cli_vars: Mapping[str, Any] = field(default_factory=dict)
    confirm_above_usd: float = 5.0
    """A run that is expected to cost more asks first."""
    month_max_cost_usd: float | None = None
    list_files: Mapping[str, ConfigNode] = field(default_factory=dict)
    """List name -> the node that names its file."""
    notices: tuple[Notice, ...] = ()
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Model -> its own prices, for all targets."""
    target_prices: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Target -> model -> prices that hold there, e.g. a gateway's."""
    fail_on: Mapping[str, float | bool] = field(default_factory=dict)
    """Rules by which `diff` fails, with their limits."""
    sources: Mapping[str, SourceSpec] = field(default_factory=dict)
    exposures: Mapping[str, ExposureSpec] = field(default_factory=dict)
    connections: Mapping[str, Connection] = field(default_factory=dict)
    target_connections: Mapping[str, Mapping[str, Connection]] = field(default_factory=dict)
    """Target -> connections that are others there."""

    @property
    def root(self) -> Path:
        return self.tree.root

    @property
    def state_folder(self) -> Path:
        """What must survive: answers, batches in flight, spools."""
        return self.root / STATE_FOLDER

    @property
    def artifacts_folder(self) -> Path:
        """What can be made again: `clean` removes it."""
        return self.root / ARTIFACTS_FOLDER

    @property
    def manifest_path(self) -> Path:
        return self.artifacts_folder / "manifest.json"

    @property
    def run_results_path(self) -> Path:
        return self.artifacts_folder / "run_results.json"

    def compiled_path(self, job: str) -> Path:
        return self.artifacts_folder / "compiled" / f"{job}.jsonl"

    def outputs_folder(self, target: Target) -> Path:
        return self.root / target.outputs_dir

    def target(self, name: str | None = None) -> Target:
        wanted = name or self.default_target
        if wanted in self.targets:
            return self.targets[wanted]
        hint = did_you_mean(wanted, self.targets) or f"Targets here: {', '.join(self.targets)}."
        raise UsageError("BF130", f"There is no target `{wanted}` in {PROJECT_FILE}.", hint=hint)

    @property
    def connection_names(self) -> frozenset[str]:
        """Of all targets."""
        return frozenset(self.connections).union(*self.target_connections.values())

    def connections_of(self, target: Target) -> Mapping[str, Connection]:
        return {**self.connections, **self.target_connections.get(target.name, {})}

    def connection(self, name: str, target: Target) -> Connection:
        """
        Raises:
            UsageError: BF184 the target has no such connection.
        """
        found = self.connections_of(target)
        if name in found:
            return found[name]
        hint = did_you_mean(name, found) or f"Declare it under `connections` in {PROJECT_FILE}."
        raise UsageError("BF184", f"The target `{target.name}` has no connection `{name}`.", hint=hint)

    def price_table(self, target: Target) -> PriceTable:
        """The prices that hold for a target: its own, before the project's, before those of this version."""
        from batchforge.claude_models import price_table

        return price_table({**self.prices, **self.target_prices.get(target.name, {})})


@dataclass(frozen=True, slots=True)
class Notice:
    """Who is told of the end of a run: a URL, which may hold env_var and is resolved only then, or a command."""

    on: str
    url: str = ""
    command: tuple[str, ...] = ()
    timeout_s: float = 10.0
    location: Location | None = None


def find_project(start: Path) -> Path:
    """The nearest folder with a batchforge.yml, from `start` upward."""
    folder = start.absolute()
    for candidate in (folder, *folder.parents):
        if os.path.isfile(candidate / PROJECT_FILE):  # noqa: PTH113 - False, not an error, where we may not look
            return candidate
    hint = f"Go to a project's folder, or name it with --project-dir. A project is a folder with a {PROJECT_FILE}."
    raise UsageError("BF120", f"There is no {PROJECT_FILE} in {folder} or above it.", hint=hint)


@stage("read project")
def load_project(
    root: Path, *, problems: ProblemList, cli_vars: Mapping[str, Any] | None = None, tree: SourceTree | None = None
) -> Project:
    """The project. Where its file is wrong, `problems` says so and what can be known is given.

    `tree` holds its files where they are not those of the work tree.
    """
    tree = tree or SourceTree(root)
    given = dict(cli_vars or {})
    node = read_config_file(tree, PROJECT_FILE, "project.schema.json", problems)
    if node is None:
        return Project(root.name, tree, {}, "", {}, {}, cli_vars=given)
    targets = {target.name: target for target in _read_targets(node["targets"], problems)}
    values, required = _read_vars(node, given, problems)
    models = {alias: model.value for alias, model in _entries(node, "models").items()}
    return Project(
        name=node["name"].value,
        tree=tree,
        targets=targets,
        default_target=_default_target(node, targets, problems),
        defer_to=_defer_to(node, targets, problems),
        defaults=_entries(node, "defaults"),
        models=models,
        vars=values,
        required_vars=required,
        cli_vars=given,
        list_files=_entries(node, "lists"),
        notices=tuple(_read_notice(child) for child in node["notify"].elements) if "notify" in node else (),
        confirm_above_usd=float(node["confirm_above_usd"].value) if "confirm_above_usd" in node.entries else 5.0,
        month_max_cost_usd=float(node["month_max_cost_usd"].value) if "month_max_cost_usd" in node.entries else None,
        fail_on=node["review"].data.get("fail_on", {}) if "review" in node else {},
        prices=_read_prices(node, models, problems),
        target_prices={
            name: _read_prices(settings, models, problems) for name, settings in _entries(node, "targets").items()
        },
        **_read_connections(node, problems),
        **_read_declared(node, tree, problems),
    )


def _read_declared(node: ConfigNode, tree: SourceTree, problems: ProblemList) -> dict[str, Any]:
    if "sources" not in node and "exposures" not in node:
        return {}
    from batchforge.config.declared import read_exposures, read_sources

    sources = read_sources(_entries(node, "sources"), _entries(node, "lists"), tree, problems)
    return {"sources": sources, "exposures": read_exposures(_entries(node, "exposures"))}


def _read_connections(node: ConfigNode, problems: ProblemList) -> dict[str, Any]:
    of_targets = {name: target for name, target in _entries(node, "targets").items() if "connections" in target}
    if "connections" not in node and not of_targets:
        return {}
    from batchforge.connection import read_connections

    return {
        "connections": read_connections(_entries(node, "connections"), problems),
        "target_connections": {
            name: read_connections(_entries(target, "connections"), problems) for name, target in of_targets.items()
        },
    }


def _read_prices(
    settings: ConfigNode, aliases: Mapping[str, str], problems: ProblemList
) -> Mapping[str, Mapping[str, Any]]:
    if "prices" not in settings:
        return {}
    from batchforge.config.own_prices import read_own_prices

    return read_own_prices(settings["prices"], aliases, problems)


def _read_notice(node: ConfigNode) -> Notice:
    values = dict(node.data)
    command = values.pop("command", ())
    words = shlex.split(command) if isinstance(command, str) else command
    return Notice(**{"on": "end", **values}, command=tuple(words), location=node.location)


def _entries(node: ConfigNode, name: str) -> Mapping[str, ConfigNode]:
    child = node.get(name)
    return child.entries if child is not None else {}


def _defer_to(node: ConfigNode, targets: Mapping[str, Target], problems: ProblemList) -> str | None:
    chosen = node.get("defer_to")
    if chosen is None:
        return None
    if chosen.value not in targets:
        hint = did_you_mean(chosen.value, targets) or f"Targets here: {', '.join(targets)}."
        problems.add("BF130", f"There is no target `{chosen.value}`.", location=chosen.location, hint=hint)
    name: str = chosen.value
    return name


def _default_target(node: ConfigNode, targets: Mapping[str, Target], problems: ProblemList) -> str:
    chosen = node.get("default_target")
    if chosen is None:
        if len(targets) > 1:
            hint = f"Add e.g. `default_target: {next(iter(targets))}`."
            message = "`default_target` is missing, and there is more than one target."
            problems.add("BF103", message, location=node["targets"].key_location, hint=hint)
        return next(iter(targets))
    if chosen.value not in targets:
        hint = did_you_mean(chosen.value, targets) or f"Targets here: {', '.join(targets)}."
        problems.add("BF130", f"There is no target `{chosen.value}`.", location=chosen.location, hint=hint)
    return str(chosen.value)


def _read_targets(node: ConfigNode, problems: ProblemList) -> Iterator[Target]:
    folders: dict[str, str] = {}
    for name, settings in node.entries.items():
        target = Target(name, settings["type"].value, settings.data, settings.key_location)
        _check_templates(settings, problems)
        _check_key(target, settings, problems)
        _check_address(settings, problems)
        _check_times(target, settings, problems)
        _check_state(settings, problems)
        _check_outputs(target, settings, folders, problems)
        yield target


def _check_templates(settings: ConfigNode, problems: ProblemList) -> None:
    for node in _texts(settings):
        if "{{" in ENV_VAR.sub("", node.value) or "{%" in node.value:
            hint = "Write \"{{ env_var('NAME') }}\" or \"{{ env_var('NAME', 'default') }}\"."
            problems.add("BF131", "Only env_var can be used in a target.", location=node.location, hint=hint)
    for name in ("outputs", "scenario", "anthropic_version"):
        if name in settings and ENV_VAR.search(settings[name].value):
            hint = "Write the value itself."
            problems.add(
                "BF131", f"`{name}` cannot come from the environment.", location=settings[name].location, hint=hint
            )


def _texts(node: ConfigNode) -> Iterator[ConfigNode]:
    if node.kind == "text":
        yield node
    for child in (*node.entries.values(), *node.elements):
        yield from _texts(child)


def _check_key(target: Target, settings: ConfigNode, problems: ProblemList) -> None:
    """A key in the file is a secret in git."""
    hint = "Write \"{{ env_var('ANTHROPIC_API_KEY') }}\" and set that in your shell. Revoke a key that was committed."
    key = settings.get("api_key")
    url = settings.get("base_url")
    is_local = url is not None and is_loopback(_host(url.value))
    if key is not None and "{{" not in key.value and not is_local:
        location = Location(key.source.path, key.line, key.column)
        problems.add("BF136", "The API key stands in the file.", location=location, hint=hint)
    for name, header in _entries(settings, "headers").items():
        if name.lower() in KEY_HEADERS:
            location = Location(header.source.path, header.key_line, header.key_column)
            problems.add("BF136", f"The header `{name}` holds a key.", location=location, hint="Use `api_key` for it.")


def _host(url: str) -> str:
    try:
        return checked_url(url).hostname or ""
    except ProjectError:
        return ""


def _check_address(settings: ConfigNode, problems: ProblemList) -> None:
    url = settings.get("base_url")
    if url is not None and "{{" not in url.value:
        try:
            checked_url(url.value, url.location)
        except ProjectError as exc:
            problems.extend(exc)


def _check_times(target: Target, settings: ConfigNode, problems: ProblemList) -> None:
    if target.type == "claude" and target.settle_after_s <= target.timeout_s:
        node = settings.get("settle_after_s") or settings["timeout_s"]
        message = (
            f"`settle_after_s` ({target.settle_after_s:g}) must be longer than `timeout_s` ({target.timeout_s:g})."
        )
        hint = "A call that may still arrive must not count as lost: it would be paid twice."
        problems.add("BF117", message, location=node.location, hint=hint)


def _check_state(settings: ConfigNode, problems: ProblemList) -> None:
    state = settings.get("state")
    if state is None or ENV_VAR.fullmatch(state.value.strip()):
        return
    scheme, is_address, rest = state.value.partition("://")
    # An address is shown, and names files: only its user and password, or the whole of it, come from the environment.
    if "{{" in re.sub(r"^[^/@]*(\{\{[^@]*)?@", "", rest) or "{{" in scheme:
        hint = "Let the whole address come from one variable, or only what stands before the @."
        message = "A part of the state's address that would be shown comes from the environment."
        problems.add("BF131", message, location=state.location, hint=hint)
        return
    if not is_address or scheme not in STATE_SCHEMES or not _is_place(scheme, rest):
        hint = (
            "Write e.g. sqlite:///.batchforge/shared.db, relative to the project's folder, or "
            "postgresql://user:{{ env_var('STATE_PASSWORD') }}@host/database, or s3://bucket/folder. "
            f"It can begin with {', '.join(f'{each}://' for each in STATE_SCHEMES)}."
        )
        problems.add("BF137", "This is not the address of a state.", location=state.location, hint=hint)
    elif re.match(r"[^/@{]*:[^@{]+@", rest):
        hint = "Write it as {{ env_var('STATE_PASSWORD') }}, and change it if the file was ever committed."
        problems.add("BF136", "The state's password stands in the file.", location=state.location, hint=hint)


def _is_place(scheme: str, rest: str) -> bool:
    """Files have no host, everything else has."""
    return rest.startswith("/") == (scheme in ("sqlite", "file"))


def _check_outputs(target: Target, settings: ConfigNode, folders: dict[str, str], problems: ProblemList) -> None:
    """Outputs belong to a target: two that write one file would replace each other's answers."""
    if target.type == "emulator":
        return
    node = settings.get("outputs")
    location = node.location if node is not None else settings.key_location
    is_absolute = node is not None and node.value.startswith(("~", "/"))
    folder = target.outputs_dir
    parts = folder.split("/")
    if is_absolute or ".." in parts or parts[0] in (STATE_FOLDER, ARTIFACTS_FOLDER):
        hint = f"Name a folder inside the project, but not in {ARTIFACTS_FOLDER}/ or {STATE_FOLDER}/."
        problems.add("BF138", f"Outputs cannot be written to `{folder}`.", location=location, hint=hint)
    elif first := folders.get(folder.casefold()):
        message = f"The targets `{first}` and `{target.name}` would write the same outputs."
        hint = f"Give one of them a folder of its own, e.g. `outputs: {target.name}`."
        problems.add("BF139", message, location=location, hint=hint)
    folders.setdefault(folder.casefold(), target.name)


def _read_vars(
    node: ConfigNode, given: dict[str, Any], problems: ProblemList
) -> tuple[dict[str, Any], dict[str, Location]]:
    declared = read_declared_vars(_entries(node, "vars"))
    values: dict[str, Any] = {}
    required: dict[str, Location] = {}
    for name, variable in declared.items():
        if name in given:
            given[name] = typed_as_declared(name, given[name], variable.default, problems)
            values[name] = given[name]
        elif variable.is_required:
            required[name] = variable.node.key_location
        else:
            values[name] = _from_environment(variable.default, variable.node, problems)
    return values, required


@dataclass(frozen=True, slots=True)
class DeclaredVar:
    node: ConfigNode
    default: Any
    is_required: bool


def read_declared_vars(entries: Mapping[str, ConfigNode]) -> dict[str, DeclaredVar]:
    """`name: value`, `name: {default: value}` or `name: {required: true}`."""
    return {name: _read_var(node) for name, node in entries.items()}


def _read_var(node: ConfigNode) -> DeclaredVar:
    is_form = bool(node.entries) and node.entries.keys() <= {"default", "required", "description"}
    if not is_form or not node.entries.keys() & {"default", "required"}:
        return DeclaredVar(node, node.data, False)
    default = node.get("default")
    is_required = "required" in node and node["required"].value is True and default is None
    return DeclaredVar(node, default.data if default is not None else None, is_required)


def typed_as_declared(name: str, value: Any, default: Any, problems: ProblemList) -> Any:
    """`--vars limit=20` gives text; where the project declares a number or a boolean, it becomes one."""
    if not isinstance(value, str) or not isinstance(default, int | float):
        return value
    from batchforge.config.yaml_nodes import parse_scalar

    typed = parse_scalar(value)
    is_boolean = isinstance(default, bool)
    if isinstance(typed, int | float) and isinstance(typed, bool) == is_boolean:
        return typed
    wanted = "true or false" if is_boolean else "a number"
    problems.add("BF142", f"--vars {name}: `{value}` is not {wanted}, as it is declared.")
    return value


def _from_environment(value: Any, node: ConfigNode, problems: ProblemList) -> Any:
    if isinstance(value, dict):
        return {name: _from_environment(item, node, problems) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_environment(item, node, problems) for item in value]
    if not isinstance(value, str) or "env_var" not in value:
        return value
    try:
        return ENV_VAR.sub(lambda match: _allowed_env(match["name"], match["default"], node), value)
    except BatchForgeError as exc:
        problems.extend(exc)
        return value


def _allowed_env(name: str, default: str | None, node: ConfigNode) -> str:
    """Prompts go to a server, and specs come from pull requests: only variables that the machine's owner names."""
    if name not in {item.strip() for item in os.environ.get("BATCHFORGE_ENV_ALLOW", "").split(",")}:
        hint = f"If prompts may hold its value, set BATCHFORGE_ENV_ALLOW={name} in your own environment."
        message = f"The environment variable {name} may not be used in `vars`."
        raise ProjectError("BF133", message, hint=hint, location=node.location)
    value = os.environ.get(name, default)
    if value is None:
        hint = f"Set it (export {name}=...), or give a default: env_var('{name}', 'default')."
        raise ProjectError("BF132", f"The environment variable {name} is not set.", hint=hint, location=node.location)
    return value
