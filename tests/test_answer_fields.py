"""Fields become JSON Schema as the API takes it; schemas that it would refuse are refused at their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.project_files import load_one, problems_of

PATH = "jobs/triage/classify_tickets.yml"
REFUSED_KEYWORDS = "minLength maxLength minimum multipleOf maxItems uniqueItems oneOf not if patternProperties"
BASE = "input: {file: a.csv}\nuser: hello\noutput:\n"


def schema_of(tmp_path: Path, output: str, **files: str) -> Any:
    paths = {name.replace("_", "."): text for name, text in files.items()}
    return load_one(tmp_path, BASE + output, paths).output.schema


def property_of(tmp_path: Path, field: str) -> Any:
    schema = schema_of(tmp_path, f"  fields:\n    a: {field}\n")
    assert schema["additionalProperties"] is False
    return schema["properties"]["a"]


def schema_problems(tmp_path: Path, schema: str) -> list[str]:
    return problems_of(tmp_path, {PATH: f"{BASE}  schema: {schema}\n"})


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("text", {"type": "string"}),
        ("integer", {"type": "integer"}),
        ("number", {"type": "number"}),
        ("boolean", {"type": "boolean"}),
        ("{type: text, description: why}", {"type": "string", "description": "why"}),
        ("{one_of: categories}", {"type": "string", "enum": ["billing", "claim", "no"]}),
        ("{one_of: [yes, no, 1.10, 007, null]}", {"type": "string", "enum": ["yes", "no", "1.10", "007", "null"]}),
        ("{list_of: text}", {"type": "array", "items": {"type": "string"}}),
        (
            "{list_of: {one_of: categories}, description: all}",
            {"type": "array", "items": {"type": "string", "enum": ["billing", "claim", "no"]}, "description": "all"},
        ),
        (
            "{fields: {b: text, c: {type: integer, optional: true}}}",
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "c": {"type": "integer"}},
                "required": ["b"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_a_field_becomes_a_schema(tmp_path: Path, field: str, schema: object) -> None:
    assert property_of(tmp_path, field) == schema


def test_fields_keep_their_order_and_are_required_unless_optional(tmp_path: Path) -> None:
    schema = schema_of(tmp_path, "  fields:\n    z: text\n    a: {type: text, optional: true}\n    m: text\n")
    assert list(schema["properties"]) == ["z", "a", "m"]
    assert schema["required"] == ["z", "m"]


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("txt", "BF104"),
        ("{one_of: categorys}", "BF156"),
        ("{one_of: [a, A]}", "BF157"),
        ("{one_of: []}", "BF117"),
        ("{type: text, one_of: [a]}", "BF105"),
        ("{description: x}", "BF105"),
        ("{fields: {}}", "BF117"),
        ("[text]", "BF102"),
    ],
)
def test_a_field_that_is_none_is_refused(tmp_path: Path, field: str, code: str) -> None:
    assert problems_of(tmp_path, {PATH: f"{BASE}  fields:\n    a: {field}\n"})[0].startswith(f"{code} {PATH}:5:")


def test_objects_of_a_schema_are_closed_at_every_depth(tmp_path: Path) -> None:
    schema = schema_of(
        tmp_path,
        "  schema:\n    type: object\n    properties:\n      a: {type: array, items: {type: object, properties: {}}}\n"
        "      b: {anyOf: [{type: 'null'}, {$ref: '#/$defs/c'}]}\n    required: [a, b]\n"
        "    $defs: {c: {properties: {d: {type: [string, 'null'], default: x}}, required: [d]}}\n",
    )
    assert schema["additionalProperties"] is False
    assert schema["properties"]["a"]["items"]["additionalProperties"] is False
    assert schema["$defs"]["c"]["additionalProperties"] is False
    assert schema["properties"]["b"] == {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/c"}]}
    assert list(schema) == ["type", "properties", "required", "$defs", "additionalProperties"]


def test_a_schema_can_stand_in_a_json_file(tmp_path: Path) -> None:
    text = json.dumps({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, indent="\t")
    schema = schema_of(tmp_path, "  schema: {file: a.json}\n", a_json=text)
    assert schema["properties"] == {"a": {"type": "string"}}
    job = BASE + "  schema: {file: a.json}\n"
    (problem,) = problems_of(tmp_path, {PATH: job, "a.json": text.replace('"string"', '"string", "maxLength": 5')})
    assert problem == "BF160 a.json:5:22: The API does not take `maxLength` in a schema."


def test_a_schema_file_that_is_missing_is_told_where_it_is_named(tmp_path: Path) -> None:
    assert schema_problems(tmp_path, "{file: none.json}")[0].startswith(f"BF121 {PATH}:4:18")
    assert schema_problems(tmp_path, "{file: 5}")[0].startswith(f"BF102 {PATH}:4:18")


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        *[
            (f"{{type: object, properties: {{a: {{type: string, {keyword}: 1}}}}}}", "BF160")
            for keyword in REFUSED_KEYWORDS.split()
        ],
        ("{type: object, properties: {a: {type: array, minItems: 2}}}", "BF160"),
        ("{type: object, properties: {a: {type: string, format: iban}}}", "BF160"),
        ("{type: object, properties: {a: {type: string, pattern: '(?=a)'}}}", "BF160"),
        ("{type: object, properties: {a: {type: string, pattern: '\\ba'}}}", "BF160"),
        ("{type: object, properties: {a: {type: text}}}", "BF160"),
        ("{type: object, properties: {a: {enum: [{b: 1}]}}}", "BF160"),
        ("{type: object, properties: {a: {enum: x}}}", "BF160"),
        ("{type: object, properties: {a: {type: string}}, required: [b]}", "BF160"),
        ("{type: object, properties: {a: text}}", "BF160"),
        ("{type: array, items: {type: string}}", "BF160"),
        ("{$ref: '#/$defs/a', $defs: {a: {type: string}}}", "BF160"),
        ("{type: object, properties: {a: {$ref: 'https://x.example/s.json'}}}", "BF161"),
        ("{type: object, properties: {a: {$ref: '#/$defs/b'}}, $defs: {b: {items: {$ref: '#/$defs/b'}}}}", "BF161"),
        ("{type: object, properties: {a: {additionalProperties: {}, type: object}}}", "BF163"),
        ("{type: object, properties: {" + ", ".join(f"a{n}: {{type: string}}" for n in range(25)) + "}}", "BF162"),
        (
            "{type: object, required: ["
            + ", ".join(f"a{n}" for n in range(17))
            + "], properties: {"
            + ", ".join(f"a{n}: {{type: [string, 'null']}}" for n in range(17))
            + "}}",
            "BF162",
        ),
    ],
)
def test_what_the_api_would_refuse_is_refused(tmp_path: Path, schema: str, code: str) -> None:
    (problem,) = schema_problems(tmp_path, schema)
    assert problem.startswith(f"{code} {PATH}:")


@pytest.mark.parametrize(
    "schema",
    [
        "{type: object, title: T, description: d, properties: {a: {type: string, format: date, pattern: '^a+$'}}}",
        "{type: object, properties: {a: {const: 5}, b: {type: array, minItems: 1, items: {enum: [1, null, x]}}}}",
        "{$ref: '#/$defs/a', $defs: {a: {type: object, properties: {}}}}",
        "{type: object, properties: {type: {type: string}, properties: {type: string}, $ref: {type: string}}}",
    ],
)
def test_what_the_api_takes_is_taken(tmp_path: Path, schema: str) -> None:
    assert schema_problems(tmp_path, schema) == []
