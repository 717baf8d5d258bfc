"""jobs/**/*.yml and the defaults above them -> one `JobSpec` for each job, and every problem in all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchforge.config.config_files import add_at, read_config_file
from batchforge.config.job_settings import read_batch, read_cache, read_input, read_output, read_params
from batchforge.config.job_tests import JobTestsReader
from batchforge.config.label_lists import read_label_list
from batchforge.config.ladder_settings import model_names, read_ladder, settings_by_model
from batchforge.config.prompt_content import PromptReader
from batchforge.config.sql_tests import with_tests_placed
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import BatchForgeError, Location, ProblemList
from batchforge.graph import build_graph, job_hint
from batchforge.nearest import did_you_mean
from batchforge.profiling import stage
from batchforge.project import PROJECT_FILE, Project, read_declared_vars, typed_as_declared
from batchforge.spec import (
    AssertionSpec,
    BatchLimits,
    CachePolicy,
    FolderBudget,
    JobSpec,
    Label,
    MessageSpec,
    OutputSpec,
)

JOBS_FOLDER = "jobs"
_ENDINGS = (".yml", ".yaml")
_DEFAULTS = ("_defaults.yml", "_defaults.yaml")
_JOB_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")

Layer = Mapping[str, ConfigNode]


@stage("read jobs")
def load_jobs(project: Project, problems: ProblemList) -> dict[str, JobSpec]:
    """All jobs by name, disabled ones too. Jobs with errors are left out, and their errors are in `problems`."""
    loader = JobLoader(project, problems)
    jobs: dict[str, JobSpec] = {}
    files: dict[str, list[str]] = {}
    for path in loader.paths():
        files.setdefault(_stem(path), []).append(path)
        job = loader.load(path)
        if job is None or not _is_new_name(job, jobs, problems):
            continue
        jobs[job.name] = job
    _check_cli_vars(project, loader, problems)
    _check_output_files(jobs, problems)
    graph = build_graph(jobs, problems, files)
    jobs = with_tests_placed(jobs, files, graph, project.tree, problems)
    _check_exposures(project, jobs, files, problems)
    _check_connections(project, jobs, problems)
    problems.items[:] = dict.fromkeys(problems.items)  # shared defaults say the same for each job
    return jobs


def load_job(project: Project, path: str, problems: ProblemList) -> JobSpec | None:
    """The one job of this file."""
    return JobLoader(project, problems).load(path)


@dataclass(slots=True)
class JobLoader:
    project: Project
    problems: ProblemList
    known_vars: set[str] = field(default_factory=set)
    _folders: dict[str, list[Layer]] = field(default_factory=dict)
    _lists: dict[str, tuple[Label, ...]] | None = None
    _missing_vars: set[str] = field(default_factory=set)
    _prompts: PromptReader = field(init=False)

    def __post_init__(self) -> None:
        self._prompts = PromptReader(self.project.tree, self.problems)
        self.known_vars |= self.project.vars.keys() | self.project.required_vars.keys()

    def paths(self) -> list[str]:
        """All files below jobs/ but the defaults."""
        try:
            paths = self.project.tree.glob(f"{JOBS_FOLDER}/**/*")
        except BatchForgeError as exc:
            self.problems.extend(exc)
            return []
        return [path for path in paths if path.endswith(_ENDINGS) and path.rpartition("/")[2] not in _DEFAULTS]

    def load(self, path: str) -> JobSpec | None:
        before = len(self.problems.errors)
        name = _job_name(path, self.problems)
        node = read_config_file(self.project.tree, path, "job.schema.json", self.problems)
        layers = [*self._layers(path.rpartition("/")[0]), node.entries if node is not None else {}]
        if node is None or not self.project.targets:  # a project that is not understood only brings false alarms
            return None
        settings = merge_layers(layers, self.problems)
        if not _has_required(settings, path, self.problems):
            return None
        job = self._build(name, path, settings, layers)
        return job if len(self.problems.errors) == before else None

    def setting_layers(self, path: str) -> list[Layer]:
        """Where the settings of a job file come from: the project's defaults, each folder's, the file itself."""
        node = read_config_file(self.project.tree, path, "job.schema.json", self.problems)
        return [*self._layers(path.rpartition("/")[0]), node.entries if node is not None else {}]

    def _layers(self, folder: str) -> list[Layer]:
        """Defaults from the outermost to the innermost: the project's, then each folder's."""
        if not folder:
            return [self.project.defaults]
        if folder not in self._folders:
            outer = self._layers(folder.rpartition("/")[0])
            self._folders[folder] = [*outer, *self._folder_defaults(folder)]
        return self._folders[folder]

    def _folder_defaults(self, folder: str) -> Iterator[Layer]:
        for name in _DEFAULTS:
            path = f"{folder}/{name}"
            if self._exists(path):
                node = read_config_file(self.project.tree, path, "folder.schema.json", self.problems)
                if node is not None:
                    yield node.entries

    def _exists(self, path: str) -> bool:
        try:
            return self.project.tree.exists(path)
        except BatchForgeError as exc:
            self.problems.extend(exc)
            return False

    @property
    def lists(self) -> dict[str, tuple[Label, ...]]:
        if self._lists is None:
            self._lists = {name: self._read_list(file) for name, file in self.project.list_files.items()}
        return self._lists

    def _read_list(self, file: ConfigNode) -> tuple[Label, ...]:
        found = ProblemList()
        labels = read_label_list(self.project.tree, file.value, found)
        add_at(file.location, found.items, self.problems)
        return labels

    def _build(self, name: str, path: str, settings: Layer, layers: Sequence[Layer]) -> JobSpec:
        problems = self.problems
        models = [self.project.models.get(name, name) for name in model_names(settings["model"])]
        params = [read_params(own, problems) for own in settings_by_model(settings)]
        output, tests = self._output(settings), self._tests(layers)
        return JobSpec(
            name=name,
            path=path,
            input=read_input(settings["input"], problems, self.project.sources),
            model=models[0],
            ladder=read_ladder(settings, models, params, output, tests, problems),
            messages=self._messages(settings),
            params=params[0],
            system=self._prompts.content(settings["system"]) if "system" in settings else (),
            betas=tuple(settings["betas"].data) if "betas" in settings else (),
            output=output,
            cache=read_cache(settings["cache"]) if "cache" in settings else CachePolicy(),
            batch=read_batch(settings["batch"]) if "batch" in settings else BatchLimits(),
            mode=settings["mode"].value if "mode" in settings else None,
            min_success=float(settings["min_success"].value) if "min_success" in settings else 0.95,
            answers=int(settings["answers"].value) if "answers" in settings else 1,
            canary=_canary(settings["canary"]) if "canary" in settings else None,
            max_cost_usd=float(settings["max_cost_usd"].value) if "max_cost_usd" in settings else None,
            warn_cost_usd=float(settings["warn_cost_usd"].value) if "warn_cost_usd" in settings else None,
            folder_budgets=tuple(_folder_budgets(layers)),
            description=settings["description"].value if "description" in settings else "",
            tests=tests,
            tags=_added_tags(layers),
            group=settings["group"].value if "group" in settings else None,
            depends_on=tuple(settings["depends_on"].data) if "depends_on" in settings else (),
            meta={key: node.data for key, node in _merged_entries(layers, "meta").items()},
            vars=self._vars(layers),
            lists=self.lists,
            enabled=settings["enabled"].value if "enabled" in settings else True,
            locations={setting: node.key_location for setting, node in settings.items()},
            config={setting: node.data for setting, node in settings.items()},
            parent_locations={node.value: node.location for node in _parent_nodes(settings)},
        )

    def _messages(self, settings: Layer) -> tuple[MessageSpec, ...]:
        if "messages" in settings:
            return self._prompts.messages(settings["messages"])
        return (MessageSpec("user", self._prompts.content(settings["user"])),)

    def _output(self, settings: Layer) -> OutputSpec:
        if "output" not in settings:
            return OutputSpec()
        self._check_retries(settings)
        tools = settings.get("tools")
        return read_output(settings["output"], tools, self.lists, self.project.tree, self.problems)

    def _check_retries(self, settings: Layer) -> None:
        on_invalid = settings["output"].get("on_invalid")
        if on_invalid is not None and on_invalid.kind == "mapping" and "answers" in settings:
            hint = "Ask for some more answers, and let `on_invalid` reject those that do not fit."
            message = "`on_invalid: {retry: ...}` and `answers` do not go together."
            self.problems.add("BF105", message, location=on_invalid.key_location, hint=hint)

    def _tests(self, layers: Sequence[Layer]) -> tuple[AssertionSpec, ...]:
        nodes = [node for layer in layers if "tests" in layer for node in layer["tests"].elements]
        return JobTestsReader(lambda: self.lists, self.project.tree, self.problems).read(nodes) if nodes else ()

    def _vars(self, layers: Sequence[Layer]) -> dict[str, Any]:
        values = dict(self.project.vars)
        required = dict(self.project.required_vars)
        cli_vars = dict(self.project.cli_vars)
        for name, variable in read_declared_vars(_merged_entries(layers, "vars")).items():
            self.known_vars.add(name)
            _refuse_env_var(variable.node, self.problems)
            if variable.is_required:
                required[name] = variable.node.key_location
                values.pop(name, None)
                continue
            required.pop(name, None)
            values[name] = variable.default
            if name in cli_vars and name not in self.project.vars:
                cli_vars[name] = typed_as_declared(name, cli_vars[name], variable.default, self.problems)
        self._check_required(required, cli_vars)
        return {**values, **cli_vars}

    def _check_required(self, required: Mapping[str, Location], cli_vars: Mapping[str, Any]) -> None:
        for name in required.keys() - cli_vars.keys() - self._missing_vars:
            self._missing_vars.add(name)
            hint = f"Give it on the command line, e.g. --vars {name}=..., or set it in the job's `vars`."
            self.problems.add("BF140", f"The variable `{name}` has no value.", location=required[name], hint=hint)


def _parent_nodes(settings: Layer) -> Iterator[ConfigNode]:
    """Where jobs that this one needs are named, the place that counts last."""
    if "depends_on" in settings:
        yield from settings["depends_on"].elements
    rows = settings["input"]
    joins = rows.get("join")
    for table in (*((joins.elements or [joins]) if joins is not None else ()), rows):
        if ref := table.get("ref"):
            yield ref


def merge_layers(layers: Sequence[Layer], problems: ProblemList) -> dict[str, ConfigNode]:
    """The innermost layer wins; `user` and `messages` are two ways to say one thing, so one replaces the other."""
    merged: dict[str, ConfigNode] = {}
    for layer in layers:
        if "user" in layer and "messages" in layer:
            hint = "Keep `user` for a single question, `messages` for a conversation."
            location = layer["messages"].key_location
            problems.add("BF105", "`user` and `messages` do not go together.", location=location, hint=hint)
        if "messages" in layer:
            merged.pop("user", None)
        if "user" in layer:
            merged.pop("messages", None)
        merged.update(layer)
    return merged


def _folder_budgets(layers: Sequence[Layer]) -> Iterator[FolderBudget]:
    for layer in layers:
        if node := layer.get("folder_budget"):
            yield FolderBudget(node.source.path.rpartition("/")[0], **{k: float(v) for k, v in node.data.items()})


def _added_tags(layers: Sequence[Layer]) -> tuple[str, ...]:
    tags = (tag.value for layer in layers if "tags" in layer for tag in layer["tags"].elements)
    return tuple(dict.fromkeys(tags))


def _merged_entries(layers: Sequence[Layer], setting: str) -> dict[str, ConfigNode]:
    return {name: node for layer in layers if setting in layer for name, node in layer[setting].entries.items()}


def _canary(node: ConfigNode) -> int | None:
    return {"auto": None, "off": 0}[node.value] if isinstance(node.value, str) else int(node.value)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _job_name(path: str, problems: ProblemList) -> str:
    name = _stem(path)
    if not _JOB_NAME.fullmatch(name):
        hint = "Rename the file: small letters, digits, - and _, beginning with a letter or digit, 100 at most."
        problems.add("BF150", f"`{name}` cannot be a job's name.", location=Location(path), hint=hint)
    return name


def _is_new_name(job: JobSpec, jobs: Mapping[str, JobSpec], problems: ProblemList) -> bool:
    first = jobs.get(job.name)
    if first is not None:
        message = f"The job `{job.name}` is also defined in {first.path}."
        problems.add("BF151", message, location=Location(job.path), hint="Rename one of the files.")
    return first is None


def _has_required(settings: Layer, path: str, problems: ProblemList) -> bool:
    missing = [name for name in ("input", "model", "max_tokens") if name not in settings]
    if "user" not in settings and "messages" not in settings:
        missing.append("user")
    hint = f"Set it here, in a `_defaults.yml` of the folder, or under `defaults` in {PROJECT_FILE}."
    for name in missing:
        words = "Neither `user` nor `messages`" if name == "user" else f"`{name}`"
        is_set = "is set" if name == "user" else "is not set"
        problems.add("BF152", f"{words} {is_set} for this job.", location=Location(path), hint=hint)
    return not missing


def _refuse_env_var(node: ConfigNode, problems: ProblemList) -> None:
    if node.kind == "text" and "{{" in node.value and "env_var(" in node.value:
        hint = f"Declare the variable under `vars` in {PROJECT_FILE}, and use it as vars.name."
        problems.add("BF131", f"env_var works only in {PROJECT_FILE}.", location=node.location, hint=hint)


def _check_cli_vars(project: Project, loader: JobLoader, problems: ProblemList) -> None:
    if not project.targets:
        return
    for name in project.cli_vars.keys() - loader.known_vars:
        hint = did_you_mean(name, loader.known_vars) or f"Declare it under `vars` in {PROJECT_FILE} or in a job."
        problems.add("BF141", f"--vars gives `{name}`, which nothing declares.", hint=hint)


def _check_exposures(
    project: Project, jobs: Mapping[str, JobSpec], files: Mapping[str, Sequence[str]], problems: ProblemList
) -> None:
    for exposure in project.exposures.values():
        for name in exposure.jobs:
            if name not in files:
                location = exposure.parent_locations[name]
                problems.add("BF180", f"There is no job `{name}`.", location=location, hint=job_hint(name, jobs))
        for name in exposure.sources:
            if name not in project.sources:
                location = exposure.parent_locations[f"source:{name}"]
                hint = did_you_mean(name, project.sources) or "Declare it under `sources` in batchforge.yml."
                problems.add("BF183", f"There is no source `{name}`.", location=location, hint=hint)


def _check_connections(project: Project, jobs: Mapping[str, JobSpec], problems: ProblemList) -> None:
    named = [(source.input.connection, source.location) for source in project.sources.values()]
    for job in jobs.values():
        named += [(job.input.connection, job.input.location), (job.output.connection, job.locations.get("output"))]
    for name, location in named:
        if name is not None and name not in project.connection_names:
            hint = did_you_mean(name, project.connection_names) or f"Declare it under `connections` in {PROJECT_FILE}."
            problems.add("BF184", f"There is no connection `{name}`.", location=location, hint=hint)


def _check_output_files(jobs: Mapping[str, JobSpec], problems: ProblemList) -> None:
    seen: dict[str, str] = {}
    for job in (job for job in jobs.values() if job.enabled):
        location = job.locations.get("output", Location(job.path))
        files = [each for each in (job.output.address, job.output.local_file(job.name)) if each]
        if job.input.files in files:
            hint = "Give the output a file of its own."
            problems.add("BF154", "The output would replace the job's own input.", location=location, hint=hint)
        for file in files:
            if first := seen.get(file.casefold()):
                hint = "Give each job an output file of its own."
                message = f"The jobs `{first}` and `{job.name}` would write the same file {file}."
                problems.add("BF154", message, location=location, hint=hint)
            seen.setdefault(file.casefold(), job.name)
