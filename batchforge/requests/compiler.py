"""JobSpec and rows -> `CompiledJob`: a stream of validated requests. Deterministic; no network, no clock, no state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from batchforge.claude_models import find_model
from batchforge.documents import file_piece
from batchforge.documents.file_facts import Copies, FileFacts, FileProblem, FileReader, no_copies
from batchforge.documents.file_limits import check_files, check_inline
from batchforge.documents.file_template import ROWS_OWN_FILE, FileTemplate
from batchforge.errors import BatchForgeError, Location, ProblemList
from batchforge.requests.request import (
    BlockedRow,
    CacheablePart,
    CacheSlot,
    FileHole,
    Hole,
    MessageRequest,
    RequestTemplate,
    SharedFile,
)
from batchforge.requests.templating import PromptEnvironment, PromptTemplate, make_environment
from batchforge.row_shapes import PARENT, InputRow
from batchforge.source_tree import SourceTree
from batchforge.spec import ContentTree, FileSource, JobSpec, TemplateSource

_encode = msgspec.json.Encoder().encode

_ROW_ITSELF = "{{ row.file }}"
"""Where the rows are files, this is the file, though no column has its name."""

ANSWER = "_answer"
"""The column that tells the answers to one request apart, from 1."""

RowReader = Callable[[], Iterable[InputRow]]
"""Gives the job's rows, from the start, each time it is called."""


@dataclass(frozen=True, slots=True)
class PartHashes:
    """What the parts of a job's requests are made of, so that "why does this row rerun" has an answer."""

    model: str
    system: str
    tools: str
    messages: str
    """Of the templates' texts; what a row puts into them is hashed row by row."""
    params: str
    schema: str


@dataclass(frozen=True, slots=True)
class CompiledJob:
    """The requests of one job. `template` holds what all rows share; `requests()` streams the rest."""

    spec: JobSpec
    template: RequestTemplate
    parts: PartHashes
    _row_templates: tuple[PromptTemplate | FileTemplate, ...]
    _variables: Mapping[str, Any]
    _read_rows: RowReader
    tree: SourceTree
    """Where the files of its requests lie."""
    _shared_files: tuple[FileFacts, ...] = ()
    may_upload: bool = True
    """Whether files may be kept by the API; else they stand in their requests."""

    @property
    def slots(self) -> tuple[CacheSlot, ...]:
        return self.template.slots

    @property
    def row_templates(self) -> tuple[PromptTemplate | FileTemplate, ...]:
        """The templates of the texts and files that differ by row, in the order of the body."""
        return self._row_templates

    @property
    def is_told_by_its_input(self) -> bool:
        """Whether the job and the files of its input tell all that its prompts make of a row: none chooses its includes
        by the row, or names a file that is not the row itself."""
        files_are_rows = self.spec.input.rows_are_files
        return all(
            template.is_fully_known
            if isinstance(template, PromptTemplate)
            else files_are_rows and template.is_the_rows_own_file
            for template in self._row_templates
        )

    @property
    def read_rows(self) -> RowReader:
        return self._read_rows

    def with_rows(self, read_rows: RowReader) -> CompiledJob:
        """The same for other rows."""
        return replace(self, _read_rows=read_rows)

    def requests(self) -> Iterator[MessageRequest | BlockedRow]:
        """One request (or blocked row) for each input row, in input order.

        Raises:
            ProjectError: a template uses something that a row does not have, or the input cannot be read.
        """
        variables = dict(self._variables)
        for row in self._read_rows():
            if row.blocked:
                request: MessageRequest | BlockedRow = BlockedRow(
                    row.position, row.key, "BF225", row.blocked, row.values, row.place
                )
            else:
                variables["row"], variables["rows"], variables["said"] = row.values, row.rows, row.said
                request = self._request_of(row, variables)
            yield from [request] if self.spec.answers == 1 else self._answers_to(request)

    def narrowed(self, spec: JobSpec, keys: Collection[str]) -> CompiledJob:
        """The same requests, of some rows only and sent in another way: `spec` differs in nothing else."""
        wanted = keys if spec.answers == 1 else {key.rpartition("#")[0] for key in keys}

        def rows() -> Iterator[InputRow]:
            return (row for row in self._read_rows() if row.key in wanted)

        return replace(self, spec=spec, _read_rows=rows)

    def sample_params(self) -> dict[str, Any]:
        """The full parameters of the first row's request, or with stand-in texts where there is no row. Files are
        named as if they had been uploaded."""
        pieces: Sequence[bytes] = self.template.stand_ins(b'"row"')
        for request in self.requests():
            if isinstance(request, MessageRequest):
                pieces = request.pieces
                break
        return _decode(self.template.body_writer({})(pieces))

    def empty_params(self) -> dict[str, Any]:
        """What all rows share: the body of a request whose row-dependent texts are empty."""
        return _decode(self.template.skeleton.fill(self.template.stand_ins(b'""')))

    def params_of(self, request: MessageRequest) -> dict[str, Any]:
        """The body of one request, as a value and without cache breakpoints. Files are named, not contained."""
        return _decode(self.template.skeleton.fill(request.pieces))

    def _answers_to(self, request: MessageRequest | BlockedRow) -> Iterator[MessageRequest | BlockedRow]:
        """The same request for each answer that the row is to have, each with a key of its own."""
        for number in range(self.spec.answers):
            yield request._replace(
                position=request.position * self.spec.answers + number,
                key=f"{request.key}#{number + 1}",
                values={**request.values, PARENT: request.key, ANSWER: number + 1},
            )

    def _request_of(self, row: InputRow, variables: Mapping[str, Any]) -> MessageRequest | BlockedRow:
        files: list[FileFacts] = []
        try:
            pieces = tuple([self._piece(template, variables, row.place, files) for template in self._row_templates])
            if files:
                check_files([*self._shared_files, *files], find_model(self.spec.model))
            if not self.may_upload:
                check_inline([*self._shared_files, *files])
        except UnicodeEncodeError as exc:
            reason = f"a text holds half of a surrogate pair (U+{ord(exc.object[exc.start]):04X}), which is not Unicode"
            return BlockedRow(row.position, row.key, "BF411", reason, row.values, row.place)
        except FileProblem as exc:
            return BlockedRow(row.position, row.key, exc.code, exc.reason, row.values, row.place)
        if b'""' in pieces:
            return BlockedRow(row.position, row.key, "BF410", "a text block is empty", row.values, row.place)
        template = self.template
        size_bytes, limit_bytes = template.static_bytes + sum(map(len, pieces)), self.spec.batch.max_bytes
        if size_bytes > limit_bytes:
            reason = f"the request is {size_bytes / 1e6:,.0f} MB; a batch of this job holds {limit_bytes / 1e6:,.0f} MB"
            return BlockedRow(row.position, row.key, "BF412", reason, row.values, row.place)
        return MessageRequest(
            row.position,
            row.key,
            template.request_id(pieces),
            pieces,
            template.row_hashes(pieces),
            row.values,
            row.place,
        )

    def _piece(
        self,
        template: PromptTemplate | FileTemplate,
        variables: Mapping[str, Any],
        place: str,
        files: list[FileFacts],
    ) -> bytes:
        if isinstance(template, PromptTemplate):
            return _encode(template.render(variables, place))
        piece, facts = template.read(variables, place)
        files.append(facts)
        return piece


def compile_job(spec: JobSpec, tree: SourceTree, read_rows: RowReader, copies: Copies = no_copies) -> CompiledJob:
    """Render what all rows share, and prepare the rest. `copies` finds the local ones of documents elsewhere.

    Raises:
        ProjectError: a template cannot be read, or a shared part cannot be rendered. All problems at once.
    """
    return _Compiler(spec, make_environment(tree), tree, copies).compile(read_rows)


class _Compiler:
    def __init__(self, spec: JobSpec, environment: PromptEnvironment, tree: SourceTree, copies: Copies) -> None:
        self.spec, self.environment, self.tree = spec, environment, tree
        self.problems = ProblemList()
        self.variables: dict[str, Any] = {"vars": dict(spec.vars), "lists": _lists_for_templates(spec)}
        self.row_templates: list[PromptTemplate | FileTemplate] = []
        self.files = FileReader(tree, copies)
        self.shared_files: list[FileFacts] = []
        self.hole_parts: list[CacheablePart] = []
        self.texts: dict[CacheablePart, list[str]] = {"system": [], "messages": []}

    def compile(self, read_rows: RowReader) -> CompiledJob:
        params = self._params()
        self.problems.raise_if_any()
        return CompiledJob(
            self.spec,
            RequestTemplate(params, self.spec.betas, self.hole_parts),
            self._parts(params),
            tuple(self.row_templates),
            self.variables,
            read_rows,
            self.tree,
            tuple(self.shared_files),
        )

    def _params(self) -> dict[str, Any]:
        """The body, in the order in which the model reads it: tools, system, messages last."""
        spec = self.spec
        rest = dict(spec.params)
        params: dict[str, Any] = {"model": spec.model, "max_tokens": rest.pop("max_tokens")}
        tools = rest.pop("tools", None)
        output_config = dict(rest.pop("output_config", {}))
        if (schema := spec.output.sent_schema) is not None:
            output_config["format"] = {"type": "json_schema", "schema": schema}
        params |= rest
        if output_config:
            params["output_config"] = output_config
        if tools:
            params["tools"] = tools
        if spec.system:
            params["system"] = [self._content(block, "system") for block in spec.system]
        params["messages"] = [
            {"role": m.role, "content": [self._content(block, "messages") for block in m.content]}
            for m in spec.messages
        ]
        return params

    def _content(self, tree: ContentTree, part: CacheablePart) -> Any:
        """A content tree with its shared templates rendered and holes for the others."""
        if isinstance(tree, dict):
            return {key: self._content(value, part) for key, value in tree.items()}
        if isinstance(tree, list):
            return [self._content(value, part) for value in tree]
        if isinstance(tree, FileSource):
            return self._file(tree, part)
        return self._text(tree, part) if isinstance(tree, TemplateSource) else tree

    def _text(self, source: TemplateSource, part: CacheablePart) -> str | Hole:
        try:
            template = PromptTemplate(source, self.environment, self.tree)
            self.texts[part].append(template.texts)
            if not template.is_per_row:
                return template.render(self.variables)
        except BatchForgeError as exc:
            self.problems.extend(exc)
            return ""
        return Hole(self._hole(template, part))

    def _file(self, source: FileSource, part: CacheablePart) -> FileHole | SharedFile:
        if self.spec.input.rows_are_files and source.path.text == _ROW_ITSELF:
            source = replace(source, path=replace(source.path, text=ROWS_OWN_FILE))
        try:
            template = FileTemplate(source, self.environment, self.tree, self.files, find_model(self.spec.model))
            self.texts[part].append(template.texts)
            if template.is_per_row:
                return FileHole(self._hole(template, part))
            piece, facts = template.read(self.variables)
        except BatchForgeError as exc:
            self.problems.extend(exc)
        except FileProblem as exc:
            place = Location(source.path.path, source.path.line)
            hint = "All rows share this file, so none can be asked without it."
            self.problems.add(exc.code, exc.reason, location=place, hint=hint)
        else:
            self.shared_files.append(facts)
            return SharedFile(piece)
        return SharedFile(file_piece.STAND_IN)

    def _hole(self, template: PromptTemplate | FileTemplate, part: CacheablePart) -> int:
        self.row_templates.append(template)
        self.hole_parts.append(part)
        return len(self.row_templates) - 1

    def _parts(self, params: Mapping[str, Any]) -> PartHashes:
        named = {"model", "system", "tools", "tool_choice", "messages", "output_config", "max_tokens"}
        output_config = params.get("output_config", {})
        rest = {key: value for key, value in params.items() if key not in named}
        rest["output_config"] = {key: value for key, value in output_config.items() if key != "format"}
        return PartHashes(
            model=part_hash(params["model"]),
            system=part_hash([_without_holes(params.get("system")), self.texts["system"]]),
            tools=part_hash([params.get("tools"), params.get("tool_choice")]),
            messages=part_hash([_without_holes(params["messages"]), self.texts["messages"]]),
            params=part_hash([rest, list(self.spec.betas)]),
            schema=part_hash(output_config.get("format")),
        )


def _lists_for_templates(spec: JobSpec) -> dict[str, list[dict[str, str]]]:
    return {
        name: [{"name": label.name, "meaning": label.meaning} for label in labels]
        for name, labels in spec.lists.items()
    }


def _without_holes(value: Any) -> Any:
    if isinstance(value, Hole):
        return f"\0{value.index}"
    if isinstance(value, FileHole):
        return f"\0file{value.index}"
    if isinstance(value, SharedFile):
        return file_piece.identity_of(value.piece).decode()
    if isinstance(value, dict):
        return {key: _without_holes(item) for key, item in value.items() if key != "cache_control"}
    return [_without_holes(item) for item in value] if isinstance(value, list) else value


def part_hash(value: Any) -> str:
    """As `PartHashes` holds it."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:16]


def _decode(body: bytes) -> dict[str, Any]:
    params: dict[str, Any] = msgspec.json.decode(body)
    return params
