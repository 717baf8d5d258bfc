"""Prompts in job files -> content trees whose strings are templates that know where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from batchforge.config.config_files import add_at
from batchforge.config.yaml_nodes import ConfigNode
from batchforge.errors import BatchForgeError, ProblemList
from batchforge.source_tree import SourceTree
from batchforge.spec import ContentTree, FileSource, MessageSpec, TemplateSource

_OF_THE_ROW = re.compile(r"row(\.\w+|\[[^\]{}]+\])+")
"""`document: row.file` names a column; everything else is a path, or the template of one."""


@dataclass(slots=True)
class PromptReader:
    """Reads each prompt file once, however many jobs use it."""

    tree: SourceTree
    problems: ProblemList
    _files: dict[str, str] = field(default_factory=dict)

    def messages(self, node: ConfigNode) -> tuple[MessageSpec, ...]:
        return tuple(MessageSpec(turn["role"].value, self.content(turn["content"])) for turn in node.elements)

    def content(self, node: ConfigNode) -> tuple[ContentTree, ...]:
        """Content blocks. A text, or a file, is one text block."""
        if node.kind == "list":
            return tuple(self._block(child) for child in node.elements)
        return (self._text_block(node, node),) if node.kind == "text" else (self._block(node),)

    def _block(self, node: ConfigNode) -> ContentTree:
        if "type" in node:
            return self._tree(node)
        for kind in ("document", "image"):
            if kind in node:
                return _file_source(kind, node)
        return self._text_block(node, node["text"]) if "text" in node else self._file_block(node)

    def _text_block(self, place: ConfigNode, text: ConfigNode) -> ContentTree:
        return {"type": TemplateSource("text", place.source.path, place.line), "text": template_of(text)}

    def _file_block(self, node: ConfigNode) -> ContentTree:
        file = node["file"]
        text = self._file_text(file)
        kind = TemplateSource("text", node.source.path, node.line)
        return {"type": kind, "text": TemplateSource(text, file.value)}

    def _file_text(self, file: ConfigNode) -> str:
        if file.value in self._files:
            return self._files[file.value]
        try:
            text = without_last_newline(self.tree.read_text(file.value))
        except BatchForgeError as exc:
            add_at(file.location, exc.problems, self.problems)
            return ""
        if not text.strip():
            message = f"The prompt file `{file.value}` is empty."
            self.problems.add("BF158", message, location=file.location, hint="The API refuses empty text.")
        self._files[file.value] = text
        return text

    def _tree(self, node: ConfigNode) -> ContentTree:
        if node.kind == "mapping":
            return {name: self._tree(child) for name, child in node.entries.items()}
        if node.kind == "list":
            return [self._tree(child) for child in node.elements]
        if node.kind == "text":
            return template_of(node)
        value: bool | int | float | None = node.value
        return value


def _file_source(kind: Literal["document", "image"], node: ConfigNode) -> FileSource:
    path = template_of(node[kind])
    if _OF_THE_ROW.fullmatch(path.text):
        path = replace(path, text=f"{{{{ {path.text} }}}}")
    title, context = (template_of(node[name]) if name in node else None for name in ("title", "context"))
    return FileSource(kind, path, title, context, has_citations="citations" in node and bool(node["citations"].value))


def template_of(node: ConfigNode) -> TemplateSource:
    """A `|` block ends like a prompt file, so that moving a prompt into a file changes no request."""
    text = without_last_newline(node.value) if node.is_block else node.value
    return TemplateSource(text, node.source.path, node.text_line)


def without_last_newline(text: str) -> str:
    """The rule for the end of a prompt: exactly one newline is dropped, if there is one."""
    return text.removesuffix("\n")
