"""A job's settings, merged and in YAML's words -> the values of a `JobSpec`, in the API's words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from batchforge.config.answer_fields import Lists
from batchforge.config.answer_settings import read_answer
from batchforge.config.config_files import add_at
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import BatchForgeError, ProblemList
from batchforge.nearest import did_you_mean
from batchforge.source_tree import SourceTree, checked_path
from batchforge.spec import (
    OBJECT_SCHEMES,
    BatchLimits,
    CachePolicy,
    EachSpec,
    GroupSpec,
    InputSpec,
    JoinSpec,
    OutputSpec,
    SourceSpec,
    is_url,
)

Settings = Mapping[str, ConfigNode]

_AS_WRITTEN = (
    "max_tokens",
    "stop_sequences",
    "tools",
    "metadata",
    "service_tier",
    "inference_geo",
    "temperature",
    "top_p",
    "top_k",
)
_OWN_SETTING = frozenset((*_AS_WRITTEN, "model", "messages", "system", "thinking", "tool_choice", "betas"))
_NOT_IN_PARAMS = {
    **{name: f"Write it as the job's setting `{name}`." for name in _OWN_SETTING},
    "cache_control": "Use the job's setting `cache`.",
    "output_format": "Use the job's setting `output`.",
    "stream": "Remove it: a batch does not stream.",
    "custom_id": "Remove it: it is made from the request.",
    "workspace_id": "Set it for the target in batchforge.yml.",
    "user_profile_id": "Set it in the `headers` of the target in batchforge.yml.",
}
_ANSWER_SETTINGS = ("fields", "schema", "from", "keep", "on_invalid")
_ORIGINS = ("file", "files", "text_files", "rows", "sql", "generate", "ref", "source")
_SHAPES = ("distinct", "chunk", "group_by")
_TABLE_ONLY = ("format", "header", "columns", "delimiter", "quote", "types", "hive_partitions")
_QUERY_ONLY = ("connection", "params")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def read_params(settings: Settings, problems: ProblemList) -> dict[str, Any]:
    """All body parameters but model, system and messages."""
    params: dict[str, Any] = {name: settings[name].data for name in _AS_WRITTEN if name in settings}
    if thinking := settings.get("thinking"):
        params["thinking"] = {"type": thinking.value} if thinking.kind == "text" else thinking.data
    if choice := settings.get("tool_choice"):
        params["tool_choice"] = _tool_choice(choice)
    if others := settings.get("params"):
        _check_params(others, problems)
        params.update(others.data)
    if effort := settings.get("effort"):
        params["output_config"] = {**params.get("output_config", {}), "effort": effort.value}
    return params


def _tool_choice(node: ConfigNode) -> Any:
    if node.kind != "text":
        return node.data
    return {"type": node.value} if node.value in ("auto", "any", "none") else {"type": "tool", "name": node.value}


def _check_params(node: ConfigNode, problems: ProblemList) -> None:
    for name, child in node.entries.items():
        if hint := _NOT_IN_PARAMS.get(name):
            problems.add("BF153", f"`{name}` does not belong in `params`.", location=child.key_location, hint=hint)
    config = node.get("output_config")
    if config is not None and config.kind != "mapping":
        problems.add("BF102", "`output_config` must be a mapping of settings.", location=config.location)
    for name, child in (config.entries if config is not None else {}).items():
        if name in ("effort", "format"):
            hint = f"Use the job's setting `{'effort' if name == 'effort' else 'output'}`."
            message = f"`output_config.{name}` does not belong in `params`."
            problems.add("BF153", message, location=child.key_location, hint=hint)


def read_input(
    node: ConfigNode, problems: ProblemList, sources: Mapping[str, SourceSpec] = MappingProxyType({})
) -> InputSpec:
    _check_input(node, problems)
    values = _input_values(node)
    if "join" in node:
        joins = node["join"].elements or [node["join"]]
        values["joins"] = tuple(_join(join, problems, sources) for join in joins)
    if "source" not in node:
        return InputSpec(**values, location=node.key_location)
    source = sources.get(node["source"].value)
    if source is None:
        _no_source(node["source"], sources, problems)
        return InputSpec(location=node.key_location)
    if source.input.where is not None and "where" in values:
        values["where"] = f"({source.input.where}) and ({values['where']})"
    return replace(source.input, **values, location=node.key_location)


def input_of_source(name: str, node: ConfigNode, about: Collection[str], problems: ProblemList) -> InputSpec:
    """A declared source's own input: its settings without those that say something `about` it."""
    _check_input(node, problems)
    values = {key: value for key, value in _input_values(node).items() if key not in about}
    return InputSpec(**values, source=name, location=node.key_location)


def _no_source(node: ConfigNode, sources: Mapping[str, SourceSpec], problems: ProblemList) -> None:
    hint = did_you_mean(node.value, sources) or "Declare it under `sources` in batchforge.yml."
    problems.add("BF183", f"There is no source `{node.value}`.", location=node.location, hint=hint)


def _input_values(node: ConfigNode) -> dict[str, Any]:
    """What is set, as values of an `InputSpec`."""
    values = {name: child.data for name, child in node.entries.items() if name != "join"}
    if "each" in values:
        values["each"] = _each(values["each"])
    if "distinct" in values:
        values["distinct"] = _names(values["distinct"])
    if "group_by" in values:
        values["group_by"] = _group(values["group_by"])
    if "file" in values:
        values["files"] = values.pop("file")
    for name in ("columns", "rows"):
        if name in values:
            values[name] = tuple(values[name])
    if "key" in values:
        values["key"] = _names(values["key"])
    if "max_age" in values:
        age = values.pop("max_age")
        values["max_age_s"] = int(age[:-1]) * _SECONDS[age[-1]]
    return values


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _each(value: str | Mapping[str, Any]) -> EachSpec:
    return EachSpec(value) if isinstance(value, str) else EachSpec(value["field"], _names(value.get("key", ())))


def _group(value: str | Sequence[str] | Mapping[str, Any]) -> GroupSpec:
    if isinstance(value, Mapping):
        return GroupSpec(**{**value, "columns": _names(value["columns"])})
    return GroupSpec(_names(value))


def _join(node: ConfigNode, problems: ProblemList, sources: Mapping[str, SourceSpec]) -> JoinSpec:
    own = {name: child.data for name, child in node.entries.items() if name in ("on", "how", "prefix")}
    table = replace(node, value={name: child for name, child in node.entries.items() if name not in own})
    on = own.pop("on")
    if isinstance(on, Mapping):
        own["others_on"] = tuple(on.values())
        return JoinSpec(read_input(table, problems, sources), tuple(on), **own)
    return JoinSpec(read_input(table, problems, sources), _names(on), **own)


def _check_input(node: ConfigNode, problems: ProblemList) -> None:
    origin = next(name for name in _ORIGINS if name in node)
    is_remote = origin in ("file", "files") and is_url(node[origin].value)
    if origin in ("file", "files", "text_files") and not is_remote:
        check_path(node[origin], problems)
    shapes = [name for name in _SHAPES if name in node]
    if len(shapes) > 1:
        message = f"`{shapes[0]}` and `{shapes[1]}` do not go together."
        hint = "Put a job in between: the second one reads the first one's answers with `ref`."
        problems.add("BF105", message, location=node[shapes[1]].key_location, hint=hint)
    useless, what = _useless_settings(origin, is_remote), f"`{origin}`"
    if _rows_are_files(node, origin):
        useless, what = (*useless, *_TABLE_ONLY[1:], "encoding"), "documents"
    hint = "Set it for the source." if origin == "source" else "Remove it."
    for name in useless:
        if name in node:
            message = f"`{name}` does nothing for {what}."
            problems.add("BF105", message, location=node[name].key_location, hint=hint)
    if "columns" not in useless and "columns" in node and ("header" not in node or node["header"].value):
        hint = "Add `header: false`, or remove `columns`."
        message = "`columns` names the columns of files that have no header."
        problems.add("BF105", message, location=node["columns"].key_location, hint=hint)


def _useless_settings(origin: str, is_remote: bool) -> tuple[str, ...]:
    by_itself = (*_TABLE_ONLY, "encoding")
    of_table = {"text_files": _TABLE_ONLY, "file": (), "files": ()}.get(origin, by_itself)
    of_query = () if origin == "sql" else _QUERY_ONLY
    of_snapshot = () if origin in ("sql", "source") or is_remote else ("max_age",)
    of_generate = () if origin == "generate" else ("seed",)
    return (*of_table, *of_query, *of_snapshot, *of_generate)


def _rows_are_files(node: ConfigNode, source: str) -> bool:
    file_format = node["format"].value if "format" in node else None
    return source in ("file", "files") and InputSpec(files=node[source].value, format=file_format).rows_are_files


def check_path(node: ConfigNode, problems: ProblemList) -> bool:
    try:
        checked_path(node.value)
    except BatchForgeError as exc:
        add_at(node.location, exc.problems, problems)
        return False
    return True


def read_cache(node: ConfigNode) -> CachePolicy:
    return CachePolicy(mode=node.value) if node.kind == "text" else CachePolicy(**node.data)


def read_batch(node: ConfigNode) -> BatchLimits:
    return BatchLimits(**node.data)


def read_output(
    node: ConfigNode, tools: ConfigNode | None, lists: Lists, tree: SourceTree, problems: ProblemList
) -> OutputSpec:
    _check_output(node, problems)
    values = {name: child.data for name, child in node.entries.items() if name not in _ANSWER_SETTINGS}
    values |= read_answer(node, tools, lists, tree, problems)
    if "columns" in values:
        values["columns"] = tuple(values["columns"])
    if "key" in values:
        values["key"] = (values["key"],) if isinstance(values["key"], str) else tuple(values["key"])
    return OutputSpec(**values)


def _check_output(node: ConfigNode, problems: ProblemList) -> None:
    both = [name for name in ("fields", "schema", "text_column") if name in node]
    if len(both) > 1:
        reason = "An answer has one form" if both[1] == "schema" else "An answer with fields has no text column"
        message = f"`{both[0]}` and `{both[1]}` do not go together."
        problems.add("BF105", message, location=node[both[1]].key_location, hint=f"{reason}: remove one of them.")
    _check_table(node, problems)
    file = node.get("file")
    if file is not None and "://" in file.value:
        _check_address(file, problems)
    elif file is not None and check_path(file, problems):
        top = checked_path(file.value).split("/")[0]
        if top in ("target", ".batchforge"):
            hint = "Name another folder, e.g. outputs/."
            problems.add("BF138", f"Outputs cannot be written to `{top}/`.", location=file.location, hint=hint)


def _check_address(file: ConfigNode, problems: ProblemList) -> None:
    scheme, _, rest = file.value.replace("{target}", "target").partition("://")
    steps = rest.split("/")
    is_plain = len(steps) > 1 and not {"", ".", ".."} & set(steps) and not re.search(r"[{}?#*\[\]\\\s]", rest)
    if scheme not in OBJECT_SCHEMES or not is_plain:
        hint = "Write e.g. s3://bucket/labels.parquet; it can begin with s3://, gs:// or az://. {target} is its name."
        problems.add("BF138", f"Outputs cannot be written to `{file.value}`.", location=file.location, hint=hint)


def _check_table(node: ConfigNode, problems: ProblemList) -> None:
    if "table" in node:
        if "connection" not in node:
            hint = "Name a connection of batchforge.yml."
            problems.add(
                "BF103", "`connection` is missing beside `table`.", location=node["table"].key_location, hint=hint
            )
        return
    for name in ("connection", "key", "mode", "create"):
        if name in node:
            message = f"`{name}` does nothing without `table`."
            problems.add("BF105", message, location=node[name].key_location, hint="Add `table`, or remove it.")
