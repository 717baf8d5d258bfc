"""Checks answers against the schemas of the API's OpenAPI description, where it is not older than what is known."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from referencing import Registry
from referencing.jsonschema import DRAFT202012, SchemaRegistry

DOCUMENT = Path(__file__).with_name("claude_openapi_answers.json")
# Recorded answers of the live API lack these where there is nothing to say; the description demands them.
ABSENT_ON_THE_WIRE = {"Message": ["container"], "Usage": ["server_tool_use"], "ResponseTextBlock": ["citations"]}
BASE = "urn:claude"


def check(answer: Any, name: str) -> None:
    """Fails with the place in the answer that is not as described."""
    _validator(name).validate(answer)


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = {"$ref": f"{BASE}#/components/schemas/{name}"}
    return jsonschema.Draft202012Validator(schema, registry=_registry())


@cache
def _registry() -> SchemaRegistry:
    document = json.loads(DOCUMENT.read_text())
    for name, fields in ABSENT_ON_THE_WIRE.items():
        required = document["components"]["schemas"][name]["required"]
        document["components"]["schemas"][name]["required"] = [field for field in required if field not in fields]
    registry: SchemaRegistry = Registry().with_resource(BASE, DRAFT202012.create_resource(document))
    return registry
