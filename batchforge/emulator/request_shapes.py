"""The fields of a Messages request and of all that is in it, and what each may hold. Rules across fields: elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from batchforge.emulator.shapes import (
    Check,
    Refused,
    anything,
    boolean,
    fields,
    integer,
    list_of,
    mapping,
    nullable,
    number,
    one_of,
    remembered,
    string,
    string_or,
    tagged,
    text,
)

CACHE_CONTROL = nullable(tagged({"ephemeral": fields({"type": string}, {"ttl": nullable(one_of("5m", "1h"))})}))
_MARKED: Mapping[str, Check] = {"cache_control": CACHE_CONTROL}
_CITED: Mapping[str, Check] = {"citations": nullable(fields({}, {"enabled": boolean}))}
_TYPE: Mapping[str, Check] = {"type": string}
_CALLER = nullable(
    tagged(
        {
            "direct": fields(_TYPE, {}),
            "code_execution_20250825": fields({**_TYPE, "tool_id": string}, {}),
            "code_execution_20260120": fields({**_TYPE, "tool_id": string}, {}),
        }
    )
)

TEXT_BLOCK = fields({**_TYPE, "text": string}, {**_MARKED, "citations": nullable(list_of(mapping))})

_IMAGE_TYPES = one_of("image/jpeg", "image/png", "image/gif", "image/webp")
_URL_SOURCE = fields({**_TYPE, "url": text(shortest=1)}, {})
_FILE_SOURCE = fields({**_TYPE, "file_id": string}, {})
_IMAGE_SOURCE = tagged(
    {
        "base64": fields({**_TYPE, "media_type": _IMAGE_TYPES, "data": string}, {}),
        "url": _URL_SOURCE,
        "file": _FILE_SOURCE,
    }
)
_IMAGE_BLOCK = fields(
    {**_TYPE, "source": _IMAGE_SOURCE},
    {**_MARKED, "transformations": nullable(fields({}, {"oversized_image": one_of("downsize", "error")}))},
)
_SOURCE_CONTENT = string_or(list_of(tagged({"text": TEXT_BLOCK, "image": _IMAGE_BLOCK})))
_DOCUMENT_SOURCE = tagged(
    {
        "base64": fields({**_TYPE, "media_type": one_of("application/pdf"), "data": string}, {}),
        "text": fields({**_TYPE, "media_type": one_of("text/plain"), "data": string}, {}),
        "content": fields({**_TYPE, "content": _SOURCE_CONTENT}, {}),
        "url": _URL_SOURCE,
        "file": _FILE_SOURCE,
    }
)
_DOCUMENT_BLOCK = fields(
    {**_TYPE, "source": _DOCUMENT_SOURCE},
    {**_MARKED, **_CITED, "title": nullable(string), "context": nullable(string)},
)
_SEARCH_RESULT_BLOCK = fields(
    {**_TYPE, "content": list_of(tagged({"text": TEXT_BLOCK})), "source": string, "title": string},
    {**_MARKED, **_CITED},
)
_TOOL_RESULT_CONTENT = string_or(
    list_of(
        tagged(
            {
                "text": TEXT_BLOCK,
                "image": _IMAGE_BLOCK,
                "search_result": _SEARCH_RESULT_BLOCK,
                "document": _DOCUMENT_BLOCK,
                "tool_reference": fields({**_TYPE, "tool_name": string}, _MARKED),
                "browser_state": fields(
                    {**_TYPE, "tabs": list_of(mapping)}, {**_MARKED, "state_changes": nullable(list_of(mapping))}
                ),
            }
        )
    )
)
_TOOL_USE_ID = text(pattern="^[a-zA-Z0-9_-]+$")
_TOOL_USE_BLOCK = fields(
    {**_TYPE, "id": _TOOL_USE_ID, "name": text(shortest=1, longest=200), "input": mapping},
    {**_MARKED, "caller": _CALLER, "toolset_name": nullable(string)},
)
_TOOL_RESULT_BLOCK = fields(
    {**_TYPE, "tool_use_id": _TOOL_USE_ID},
    {
        **_MARKED,
        "content": nullable(_TOOL_RESULT_CONTENT),
        "is_error": nullable(boolean),
        "toolset_name": nullable(string),
    },
)
_SERVER_RESULT_BLOCK = fields({**_TYPE, "tool_use_id": string, "content": anything}, {**_MARKED, "caller": _CALLER})
_CONTENT_BLOCKS: Mapping[str, Check] = {
    "text": TEXT_BLOCK,
    "image": _IMAGE_BLOCK,
    "document": _DOCUMENT_BLOCK,
    "search_result": _SEARCH_RESULT_BLOCK,
    "thinking": fields({**_TYPE, "thinking": string, "signature": string}, {}),
    "redacted_thinking": fields({**_TYPE, "data": string}, {}),
    "tool_use": _TOOL_USE_BLOCK,
    "tool_result": _TOOL_RESULT_BLOCK,
    "server_tool_use": fields(
        {**_TYPE, "id": string, "name": string, "input": mapping}, {**_MARKED, "caller": _CALLER}
    ),
    "web_search_tool_result": _SERVER_RESULT_BLOCK,
    "web_fetch_tool_result": _SERVER_RESULT_BLOCK,
    "code_execution_tool_result": _SERVER_RESULT_BLOCK,
    "bash_code_execution_tool_result": _SERVER_RESULT_BLOCK,
    "text_editor_code_execution_tool_result": _SERVER_RESULT_BLOCK,
    "tool_search_tool_result": _SERVER_RESULT_BLOCK,
    "container_upload": fields({**_TYPE, "file_id": string}, _MARKED),
}
MESSAGE = fields(
    {
        "role": one_of("user", "assistant", "system"),
        "content": string_or(list_of(tagged(_CONTENT_BLOCKS))),
    },
    {},
)
SYSTEM = string_or(list_of(tagged({"text": TEXT_BLOCK})))

_TOOL_NAME = text(pattern="^[a-zA-Z0-9_-]{1,128}$")
_TOOL_SWITCHES: Mapping[str, Check] = {
    **_MARKED,
    "allowed_callers": list_of(string),
    "defer_loading": boolean,
    "strict": nullable(boolean),
}
_INVALID_INPUT_SCHEMA = (
    "JSON schema is invalid. It must match JSON Schema draft 2020-12 (https://json-schema.org/draft/2020-12). "
    "Learn more about tool use at https://docs.claude.com/en/docs/tool-use."
)


def _input_schema(value: object) -> None:
    mapping(value)
    assert isinstance(value, dict)
    if "type" not in value:
        raise Refused("Field required", "type")
    if value["type"] != "object":
        raise Refused("Input should be 'object'", "type")
    if any(keyword in value for keyword in ("oneOf", "allOf", "anyOf")):
        raise Refused("input_schema does not support oneOf, allOf, or anyOf at the top level")
    # Only requests with tools pay for the import, and each set of tools is checked once.
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(value)
    except SchemaError:
        raise Refused(_INVALID_INPUT_SCHEMA) from None


_CLIENT_TOOL = fields(
    {
        "name": _TOOL_NAME,
        "input_schema": _input_schema,
    },
    {
        **_TOOL_SWITCHES,
        "type": nullable(one_of("custom")),
        "description": string,
        "eager_input_streaming": nullable(boolean),
        "input_examples": list_of(mapping),
    },
)


def _named_tool(name: str, optional: Mapping[str, Check]) -> Check:
    return fields({**_TYPE, "name": one_of(name)}, {**_TOOL_SWITCHES, **optional})


_EXAMPLES: Mapping[str, Check] = {"input_examples": list_of(mapping)}
_DOMAINS: Mapping[str, Check] = {
    "allowed_domains": nullable(list_of(string)),
    "blocked_domains": nullable(list_of(string)),
    "max_uses": nullable(integer(least=1)),
    "response_inclusion": one_of("full", "excluded"),
}
_SEARCH: Mapping[str, Check] = {**_DOMAINS, "user_location": nullable(mapping)}
_FETCH: Mapping[str, Check] = {
    **_DOMAINS,
    **_CITED,
    "max_content_tokens": nullable(integer(least=1)),
    "url_sources": nullable(mapping),
    "use_cache": boolean,
}
_EDITOR = "str_replace_based_edit_tool"
TOOLS: Mapping[str, Check] = {
    "custom": _CLIENT_TOOL,
    "bash_20250124": _named_tool("bash", _EXAMPLES),
    "memory_20250818": _named_tool("memory", _EXAMPLES),
    "text_editor_20250124": _named_tool("str_replace_editor", _EXAMPLES),
    "text_editor_20250429": _named_tool(_EDITOR, _EXAMPLES),
    "text_editor_20250728": _named_tool(_EDITOR, {**_EXAMPLES, "max_characters": nullable(integer(least=1))}),
    **{
        f"code_execution_{version}": _named_tool("code_execution", {})
        for version in ("20250522", "20250825", "20260120", "20260521")
    },
    **{f"web_search_{version}": _named_tool("web_search", _SEARCH) for version in ("20250305", "20260209", "20260318")},
    **{
        f"web_fetch_{version}": _named_tool("web_fetch", _FETCH)
        for version in ("20250910", "20260209", "20260309", "20260318")
    },
    **{f"tool_search_tool_bm25{suffix}": _named_tool("tool_search_tool_bm25", {}) for suffix in ("", "_20251119")},
    **{f"tool_search_tool_regex{suffix}": _named_tool("tool_search_tool_regex", {}) for suffix in ("", "_20251119")},
    "browser_toolset_20260801": fields(_TYPE, {**_MARKED, "configs": nullable(mapping)}),
    "computer_toolset_20260801": fields(_TYPE, {**_MARKED, "configs": nullable(mapping)}),
}
# Tools that came with a beta are checked by their own service, not here.
BETA_TOOL_PREFIXES = ("advisor_", "mcp_toolset", "computer_")


def _tool(value: object) -> None:
    if isinstance(value, dict) and str(value.get("type")).startswith(BETA_TOOL_PREFIXES):
        return
    _TAGGED_TOOL({"type": "custom", **value} if isinstance(value, dict) and value.get("type", 0) is None else value)


_TAGGED_TOOL = tagged(TOOLS, default="custom")
_PARALLEL: Mapping[str, Check] = {"disable_parallel_tool_use": boolean}
_TOOL_CHOICE = tagged(
    {
        "auto": fields(_TYPE, _PARALLEL),
        "any": fields(_TYPE, _PARALLEL),
        "tool": fields({**_TYPE, "name": string}, _PARALLEL),
        "none": fields(_TYPE, {}),
    }
)
_DISPLAY: Mapping[str, Check] = {"display": nullable(one_of("summarized", "omitted"))}
_THINKING = tagged(
    {
        "adaptive": fields(_TYPE, _DISPLAY),
        "between_tools": fields(_TYPE, {}),
        "disabled": fields(_TYPE, {}),
        "enabled": fields({**_TYPE, "budget_tokens": integer(least=1024)}, _DISPLAY),
    }
)
_OUTPUT_CONFIG = fields(
    {},
    {
        "effort": nullable(one_of("low", "medium", "high", "xhigh", "max")),
        "format": nullable(tagged({"json_schema": fields({**_TYPE, "schema": mapping}, {})})),
    },
)

# What both endpoints take.
_PROMPT_FIELDS: Mapping[str, Check] = {
    "system": SYSTEM,
    "tools": remembered(list_of(_tool)),
    "tool_choice": _TOOL_CHOICE,
    "thinking": _THINKING,
    "output_config": _OUTPUT_CONFIG,
    "cache_control": CACHE_CONTROL,
    "speed": nullable(one_of("standard", "fast")),
}
_REQUIRED: Mapping[str, Check] = {"model": string, "messages": list_of(MESSAGE, most=100_000)}
_ANSWER_FIELDS: Mapping[str, Check] = {
    "stop_sequences": list_of(string),
    "stream": nullable(boolean),
    "metadata": fields({}, {"user_id": nullable(text(longest=512))}),
    "service_tier": one_of("auto", "standard_only"),
    "inference_geo": nullable(string),
    "container": nullable(string_or(mapping)),
    "diagnostics": nullable(fields({}, {"previous_message_id": nullable(string)})),
}
SAMPLING_FIELDS: Mapping[str, Check] = {
    "temperature": nullable(number(least=0, most=1)),
    "top_p": nullable(number(least=0, most=1)),
    "top_k": nullable(integer(least=0)),
}
# A beta header opens these fields: the field, and how the header begins.
BETA_FIELDS: Mapping[str, str] = {
    "context_management": "context-management-",
    "mcp_servers": "mcp-client-",
}


def request_fields(*, counting: bool, sampling: bool, betas: frozenset[str]) -> Check:
    """The shape of a whole request."""
    required = _REQUIRED if counting else {**_REQUIRED, "max_tokens": integer()}
    optional = dict(_PROMPT_FIELDS) if counting else {**_PROMPT_FIELDS, **_ANSWER_FIELDS}
    if sampling and not counting:
        optional |= SAMPLING_FIELDS
    for name, prefix in BETA_FIELDS.items():
        if any(beta.startswith(prefix) for beta in betas) or (name == "context_management" and _compacts(betas)):
            optional[name] = anything
    return fields(required, optional)


def _compacts(betas: frozenset[str]) -> bool:
    return any(beta.startswith("compact-") for beta in betas)
