"""One file block of a job: for a row the file that it names, as the piece of the request that stands for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchforge.claude_models import ModelInfo
from batchforge.documents.file_facts import FileFacts, FileProblem, FileReader
from batchforge.documents.file_limits import check_file, estimated_tokens, most_tokens
from batchforge.documents.file_piece import AboutFile, make_piece
from batchforge.requests.templating import PromptEnvironment, PromptTemplate
from batchforge.source_tree import SourceTree
from batchforge.spec import FileSource, TemplateSource
from batchforge.token_estimate import estimate_text_tokens

ROWS_OWN_FILE = "{{ row.path }}"


class FileTemplate:
    def __init__(
        self,
        source: FileSource,
        environment: PromptEnvironment,
        tree: SourceTree,
        reader: FileReader,
        model: ModelInfo | None,
    ) -> None:
        self._block, self._reader, self._model = source, reader, model
        self._path = PromptTemplate(source.path, environment, tree)
        labels = {"title": source.title, "context": source.context}
        self._labels = {
            name: PromptTemplate(label, environment, tree) for name, label in labels.items() if label is not None
        }

    @property
    def source(self) -> TemplateSource:
        return self._block.path

    @property
    def _templates(self) -> list[PromptTemplate]:
        return [self._path, *self._labels.values()]

    @property
    def is_per_row(self) -> bool:
        return any(template.is_per_row for template in self._templates)

    @property
    def is_the_rows_own_file(self) -> bool:
        """Whether, where rows are files, it is the file that the row is."""
        return self.source.text == ROWS_OWN_FILE and all(label.is_fully_known for label in self._labels.values())

    @property
    def texts(self) -> str:
        kind = f"{self._block.kind} {self._block.has_citations}"
        return "\0".join([kind, *(template.texts for template in self._templates)])

    def text_behind_the_row(self) -> str:
        return ""

    def read(self, variables: Mapping[str, Any], row_place: str = "") -> tuple[bytes, FileFacts]:
        """The piece, and what the file is.

        Raises:
            FileProblem: the file cannot be sent.
            ProjectError: a template fails.
        """
        facts = self._reader.read(self._path.render(variables, row_place))
        if self._block.kind == "image" and facts.kind != "image":
            raise FileProblem("BF455", f"'{facts.path}' is not an image, and the block is `image:`")
        check_file(facts)
        labels = {name: label.render(variables, row_place) for name, label in self._labels.items()}
        block: dict[str, Any] = {"type": "image" if facts.kind == "image" else "document"}
        if facts.kind != "image":
            block |= {name: label for name, label in labels.items() if label}
            if self._block.has_citations:
                block["citations"] = {"enabled": True}
        return make_piece(block, facts.media_type, facts.sha256, self._about(facts, labels)), facts

    def _about(self, facts: FileFacts, labels: Mapping[str, str]) -> AboutFile:
        family = self._model.tokenizer if self._model else "v2"
        label_tokens = sum(estimate_text_tokens(label, family) for label in labels.values())
        return AboutFile(
            path=facts.copy or facts.path,
            address=facts.path if facts.copy else "",
            size_bytes=facts.size_bytes,
            pages=facts.pages,
            width=facts.width,
            height=facts.height,
            tokens=round(estimated_tokens(facts, self._model) + label_tokens, 1),
            most_tokens=most_tokens(facts, self._model),
        )
