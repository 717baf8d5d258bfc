"""A value that is valid against a JSON Schema, made by plain rules from the text it is asked about.

Labels are chosen by word overlap, numbers and formatted strings are picked out of the text where it has any, and
strings say that they are emulated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zlib import crc32

from batchforge.emulator.pattern_strings import string_for

Schema = Mapping[str, Any]

DEEPEST = 8
# Everything in ASCII that is not a letter parts words.
_LETTERS_ONLY = bytes(byte if byte >= 128 or chr(byte).isalpha() else 32 for byte in range(256))
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_DESCRIPTION_CHARACTERS = 240
_SYSTEM_CHARACTERS = 200_000
"""So much of a system prompt is searched for descriptions of labels."""
_STOP_WORDS = frozenset(
    b"the and for are but not you all any can had her was one our out has have with that this from they will would "
    b"there their what which when were your about into than then them these some other such only also".split()
)
_LABEL_WEIGHT = 3.0


@dataclass(frozen=True, slots=True)
class About:
    """What the value is about."""

    text: str
    system: str = ""

    def pick(self, salt: str, count: int) -> int:
        """A number below count: the same for the same text and salt, and as good as any other."""
        return crc32(f"{salt}\0{self.text}".encode("utf-8", "surrogatepass")) % count


def stems(text: str) -> frozenset[bytes]:
    """The words of a text, cut to five letters so that refund, refunds and refunded are one."""
    words = set(text.lower().encode("utf-8", "surrogatepass").translate(_LETTERS_ONLY).split()) - _STOP_WORDS
    return frozenset([word[:5] for word in words if len(word) > 2])


def value_for(schema: Schema, about: About) -> Any:
    return _Filler(schema, about).fill(schema, "answer", 0)


class _Filler:
    def __init__(self, root: Schema, about: About) -> None:
        self.root = root
        self.about = about
        self._words: frozenset[bytes] | None = None

    def fill(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, dict):
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._label(_allowed(schema), name)
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self.fill(self._branch(schema, keyword, depth), name, depth + 1)
        return self._fill_type(schema, _type_of(schema), name, depth)

    def _resolved(self, schema: Schema) -> Schema:
        """References followed and parts of allOf merged."""
        for _ in range(DEEPEST):
            if "$ref" not in schema:
                break
            schema = {**{k: v for k, v in schema.items() if k != "$ref"}, **_lookup(self.root, schema["$ref"])}
        if not schema.get("allOf"):
            return schema
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            merged = _merge(merged, self._resolved(part))
        return merged

    def _branch(self, schema: Schema, keyword: str, depth: int) -> Schema:
        """The first branch that is not null; null where things get too deep."""
        common = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        branches = [self._resolved(branch) for branch in schema[keyword]]
        simple = [branch for branch in branches if _type_of(branch) == "null"]
        others = [branch for branch in branches if _type_of(branch) != "null"]
        chosen = simple[0] if simple and (depth >= DEEPEST or not others) else others[0] if others else branches[0]
        return _merge(common, chosen)

    def _fill_type(self, schema: Schema, kind: str, name: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number":
                return self._number(schema, name, whole=kind == "integer")
            case "boolean":
                return bool(self.about.pick(name, 2))
            case "null":
                return None
        return self._string(schema, name)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        """Required properties come first, as from the API."""
        if depth > 3 * DEEPEST:
            return {}
        properties, required = schema.get("properties") or {}, schema.get("required") or ()
        names = [name for name in properties if name in required]
        if depth < DEEPEST:
            names += [name for name in properties if name not in required]
        return {name: self.fill(properties[name], name, depth + 1) for name in names}

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems") or 0)
        items = self._resolved(schema["items"]) if isinstance(schema.get("items"), dict) else {"type": "string"}
        if depth >= DEEPEST and not least:
            return []
        if items.get("enum") and len(labels := self._fitting_labels(_allowed(items))) > least:
            return labels[: schema.get("maxItems")]
        count = max(least, 1 if schema.get("maxItems") != 0 else 0)
        return [self.fill(items, f"{name} {n + 1}" if count > 1 else name, depth + 1) for n in range(count)]

    def _label(self, labels: Sequence[Any], name: str) -> Any:
        scores = self._scores(labels)
        best = max(scores)
        if best <= 0:
            return labels[self.about.pick(name, len(labels))]
        return labels[scores.index(best)]

    def _fitting_labels(self, labels: Sequence[Any]) -> list[Any]:
        return [label for label, score in zip(labels, self._scores(labels), strict=True) if score >= _LABEL_WEIGHT]

    def _scores(self, labels: Sequence[Any]) -> list[float]:
        if self._words is None:
            self._words = stems(self.about.text)
        tables = _label_words(tuple(map(str, labels)), self.about.system[:_SYSTEM_CHARACTERS])
        return [sum([weights[word] for word in words & self._words]) for words, weights in tables]

    def _number(self, schema: Schema, name: str, *, whole: bool) -> float:
        low, high, step = _bounds(schema, whole=whole)
        for found in _NUMBER.findall(self.about.text):
            value = float(found)
            if low <= value <= high and value % step == 0 if step else low <= value <= high:
                if whole and value != int(value):
                    continue
                return int(value) if whole or value == int(value) else value
        return _number_between(low, high, step, self.about.pick(name, 101), whole=whole)

    def _string(self, schema: Schema, name: str) -> str:
        if schema.get("pattern"):
            return string_for(str(schema["pattern"]), self.about.text)
        if schema.get("format") in FORMATS:
            return _formatted(schema["format"], self.about)
        return _fitted(f"Emulated {name}: {excerpt(self.about.text)}", schema)


def excerpt(text: str, words: int = 12) -> str:
    """The beginning of a text."""
    parts = text.split(None, words)
    return " ".join(parts[:words]) + (" …" if len(parts) > words else "")


def _allowed(schema: Schema) -> Sequence[Any]:
    """Enum values that also are of the schema's type."""
    kind = schema.get("type")
    if not isinstance(kind, str):
        return list(schema["enum"])
    return [value for value in schema["enum"] if _is_of(value, kind)] or list(schema["enum"])


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, str):
        return kind == "string"
    return kind == "number" or (kind == "integer" and value == int(value))


def _type_of(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    if "const" in schema and schema["const"] is None:
        return "null"
    return "string"


def _lookup(root: Schema, reference: str) -> Schema:
    part: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        part = part.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(part, dict) else {}
    return part if isinstance(part, dict) else {}


def _merge(one: Schema, other: Schema) -> dict[str, Any]:
    """Both at once: objects take the properties of both."""
    merged = {**one, **other}
    if "properties" in one and "properties" in other:
        merged["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *(name for name in other["required"] if name not in one["required"])]
    return merged


@lru_cache(maxsize=64)
def _label_words(labels: tuple[str, ...], system: str) -> tuple[tuple[frozenset[bytes], Mapping[bytes, float]], ...]:
    """Words that speak for each label: its own, and those that stand beside it in the system prompt.

    A word that speaks for several labels weighs less for each.
    """
    own = [stems(re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-]", " ", label)) for label in labels]
    beside = [stems(_description(label, system, labels)) for label in labels]
    tables = []
    for label_words, description in zip(own, beside, strict=True):
        table = {word: 1.0 / sum(word in other for other in beside) for word in description}
        table |= {word: _LABEL_WEIGHT / sum(word in other for other in own) for word in label_words}
        tables.append((frozenset(table), table))
    return tuple(tables)


def _description(label: str, system: str, labels: tuple[str, ...]) -> str:
    """What follows the label's first mention, up to the end of its paragraph or the next label."""
    mention = re.search(rf"(?<!\w){re.escape(label)}(?!\w)", system, re.IGNORECASE) if label else None
    if mention is None:
        return ""
    text = system[mention.end() : mention.end() + _DESCRIPTION_CHARACTERS].split("\n\n", 1)[0]
    ends = [at for other in labels if other != label and other and (at := text.lower().find(other.lower())) >= 0]
    return text[: min(ends, default=len(text))]


def _bounds(schema: Schema, *, whole: bool) -> tuple[float, float, float]:
    tick = 1 if whole else 1e-6
    low = max(schema.get("minimum", -1e9), schema.get("exclusiveMinimum", -1e9 - tick) + tick)
    high = min(schema.get("maximum", 1e9), schema.get("exclusiveMaximum", 1e9 + tick) - tick)
    return low, high, schema.get("multipleOf") or 0


def _number_between(low: float, high: float, step: float, hundredths: int, *, whole: bool) -> float:
    """Somewhere between the bounds; between 0 and 1 if there are none."""
    bottom = low if low > -1e9 else min(0.0, high)
    top = high if high < 1e9 else max(bottom, 100.0 if whole else 1.0)
    value = bottom + (top - bottom) * hundredths / 100
    if step:
        value = max(-(-bottom // step), value // step) * step
    if not whole:
        return round(value, 6) if bottom <= round(value, 6) <= top else value
    return int(min(max(-(-value // 1), -(-bottom // 1)), top))


def _fitted(text: str, schema: Schema) -> str:
    least, most = int(schema.get("minLength") or 0), schema.get("maxLength")
    text = text.ljust(least, ".")
    return text if most is None else text[: int(most)]


_FOUND_IN_TEXT: Mapping[str, re.Pattern[str]] = {
    "email": re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    "uri": re.compile(r"https?://[A-Za-z0-9./_~-]+[A-Za-z0-9/]"),
    "uuid": re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
    "date": re.compile(r"\b(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b"),
}


def _formatted(name: str, about: About) -> str:
    pattern = _FOUND_IN_TEXT.get(name)
    found = pattern.search(about.text) if pattern else None
    if found is not None:
        return found.group()
    return FORMATS[name].format(two=f"{1 + about.pick(name, 28):02d}", hex=f"{about.pick(name, 2**32):08x}")


FORMATS: Mapping[str, str] = {
    "date-time": "2026-01-{two}T12:00:00Z",
    "time": "12:00:{two}Z",
    "date": "2026-01-{two}",
    "duration": "PT{two}M",
    "email": "emulated.{hex}@example.com",
    "hostname": "emulated-{hex}.example.com",
    "uri": "https://example.com/emulated/{hex}",
    "ipv4": "192.0.2.1{two}",
    "ipv6": "2001:db8::{two}",
    "uuid": "{hex}-0000-4000-8000-000000000000",
}
"""Names and numbers that are reserved for documentation, so that nobody's own are given out."""
