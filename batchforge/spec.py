"""A job file, checked and merged with its defaults -> one frozen `JobSpec`, in the terms the compiler uses.

Strings that are templates stay templates here (`TemplateSource`, with the place they were written); everything else is
resolved: model aliases, shorthands (`thinking: disabled`, `effort: low`, `user:`, `fields:`), label lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, TypeAlias

from batchforge.config.api_schema import api_schema
from batchforge.documents.file_kind import promised_kind
from batchforge.errors import Location


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """The text of one template and where it stands: a prompt file, or a string in a job file."""

    text: str
    path: str
    """Project-relative POSIX path of the file that holds the text."""
    line: int = 1
    """The line of `path` on which the text begins, so that an error in line n of the text can be shown in the file."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A content block that is a file: a PDF, an image or a text, told by its content."""

    kind: Literal["document", "image"]
    """image: nothing but an image will do."""
    path: TemplateSource
    """Of the file's project-relative path."""
    title: TemplateSource | None = None
    context: TemplateSource | None = None
    has_citations: bool = False


ContentTree: TypeAlias = (
    "TemplateSource | FileSource | bool | int | float | list[ContentTree] | dict[str, ContentTree] | None"
)
"""A content block as the API takes it, its strings being templates (`type`, `role`, and media types are plain `str`
wrapped in a TemplateSource too: a template without any braces renders to itself)."""


@dataclass(frozen=True, slots=True)
class MessageSpec:
    role: Literal["user", "assistant", "system"]
    content: tuple[ContentTree, ...]
    """Content blocks; a plain string has become one text block."""


@dataclass(frozen=True, slots=True)
class EachSpec:
    """A row for each element of a list."""

    field: str
    """The column that holds the list."""
    key: tuple[str, ...] = ()
    """Fields of the elements, if they are objects, that name one. Empty: its content does."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """A row for each combination of values, with all rows that have it."""

    columns: tuple[str, ...]
    max_tokens: int = 100_000
    """Estimated, of a group's rows as JSON."""
    split: bool = False
    """Whether a larger group comes in parts."""


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """Another input, whose columns are added to the rows."""

    input: InputSpec
    on: tuple[str, ...]
    """Columns whose values must be equal, by their names in the rows."""
    others_on: tuple[str, ...] = ()
    """Their names in the other input. Empty: the same."""
    how: Literal["left", "inner"] = "left"
    prefix: str = ""
    """Before the names of its columns, those of `on` excepted."""


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """A local copy of rows that live elsewhere."""

    path: str
    """Project-relative."""
    shown_as: str
    """What the rows' places name: the URL, or the query."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """Where a job's rows come from. Exactly one of `files`, `text_files`, `rows`, `sql` and `ref` is set."""

    files: str | None = None
    """One project-relative path or glob of CSV, TSV, JSONL, JSON or Parquet files, read in sorted order; or of
    documents and images, each of which is a row (`rows_are_files`)."""
    text_files: str | None = None
    """A glob of text files; each is a row with `path`, `name` (without folder and ending) and `text`."""
    rows: tuple[Mapping[str, Any], ...] | None = None
    sql: str | None = None
    """A query, or the project-relative path of a .sql file."""
    connection: str | None = None
    """Whom `sql` asks. None: the embedded DuckDB over the declared sources."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Values of the query's `:name`; texts may be templates over `vars`."""
    max_age_s: int | None = None
    """How old a snapshot of `sql` or of remote files may be. None: any age."""
    snapshot: tuple[SnapshotFile, ...] | None = None
    """What stands for `sql` and for remote files once they are fetched."""
    hive_partitions: bool = False
    """Whether folders such as `lang=en` in a path give columns."""
    ref: str | None = None
    """Another job, whose accepted rows are the rows of this one."""
    source: str | None = None
    """The declared source that the other settings come from."""
    format: Literal["csv", "tsv", "jsonl", "json", "parquet", "document"] | None = None
    """None: by the file's ending."""
    header: bool = True
    columns: tuple[str, ...] = ()
    """Names of the columns where the file has no header."""
    delimiter: str | None = None
    quote: str | None = '"'
    """None: quotes are ordinary characters (the choice for TSV files with lone quotes)."""
    encoding: str = "utf-8"
    types: Mapping[str, str] = field(default_factory=dict)
    """column -> text | integer | number | boolean | json, for formats whose cells are text."""
    key: tuple[str, ...] = ()
    """Columns that name a row. Empty: the row's content names it, and equal rows are numbered."""
    on_duplicate: Literal["error", "first", "suffix"] = "error"
    where: str | None = None
    """A Jinja expression over `row` and `vars`; rows for which it is false are left out."""
    limit: int | None = None
    sample: int | None = None
    """That many rows, chosen by hash of their keys: the same ones every time, in input order."""
    generate: int | None = None
    """That many rows made from nothing, with an `index` from 0 and a `seed` of their own."""
    seed: int = 0
    joins: tuple[JoinSpec, ...] = ()
    each: EachSpec | None = None
    distinct: tuple[str, ...] = ()
    chunk: int | None = None
    """At most so many rows are asked about together."""
    group_by: GroupSpec | None = None
    location: Location | None = None

    @property
    def refs(self) -> tuple[str, ...]:
        """Jobs whose rows are read."""
        own = () if self.ref is None else (self.ref,)
        return (*own, *(ref for join in self.joins for ref in join.input.refs))

    @property
    def is_remote(self) -> bool:
        """Whether the files lie in an object store or behind a URL."""
        return self.files is not None and is_url(self.files)

    @property
    def needs_snapshot(self) -> bool:
        return self.sql is not None or self.is_remote

    @property
    def rows_are_files(self) -> bool:
        """Whether each file is a row: so says `format`, or the ending of documents and images."""
        if self.files is None or self.format not in (None, "document"):
            return False
        path = self.files.partition("?")[0] if self.files.startswith("http") else self.files
        return self.format == "document" or promised_kind(path) in ("pdf", "image")

    @property
    def needs_snapshots(self) -> bool:
        """Whether it or a joined input does."""
        return self.needs_snapshot or any(join.input.needs_snapshots for join in self.joins)

    @property
    def sources(self) -> tuple[str, ...]:
        """Declared sources whose rows are read."""
        own = () if self.source is None else (self.source,)
        return (*own, *(source for join in self.joins for source in join.input.sources))


OBJECT_SCHEMES = ("s3", "gs", "az")


def is_url(path: str) -> bool:
    return "://" in path


@dataclass(frozen=True, slots=True)
class CachePolicy:
    mode: Literal["auto", "off", "on"] = "auto"
    """auto: mark where it pays; on: mark whatever the model can cache; off: never mark."""
    ttl: Literal["5m", "1h"] | None = None
    """None: chosen by the planner."""
    per: str | None = None
    """A column that shares a prefix, e.g. contract_id: fifty questions about each contract."""
    prime: Literal["auto", "batch", "sync", "off"] = "auto"


@dataclass(frozen=True, slots=True)
class AnswerSource:
    """Where in an answer its fields stand."""

    kind: Literal["structured", "json", "xml", "regex", "tool"] = "structured"
    """structured: Claude is held to the schema, and answers with nothing else."""
    pattern: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    file: str | None = None
    """Project-relative path, or the address of an object; the format is by its ending: .jsonl, .csv, .tsv, .parquet.
    None: outputs/<job>.jsonl."""
    table: str | None = None
    """A table that published rows are written to as well."""
    connection: str | None = None
    """The connection that holds `table`."""
    key: tuple[str, ...] = ()
    """Columns that name a row of `table`. Empty: the input's key."""
    mode: Literal["upsert", "append", "replace"] = "upsert"
    create: bool = False
    """Whether `table` is made where it is not there."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the answer, made from `fields` or given as `schema`. None: the answer is text."""
    source: AnswerSource = AnswerSource()
    keep: tuple[str, ...] = ()
    """What else becomes a column: thinking, citations, tool_calls."""
    keeps_invalid: bool = False
    """Whether an answer that breaks the schema counts, with the fields that it has."""
    retries: int = 0
    """How often an answer that breaks the schema is asked again at most."""
    tells_reason: bool = False
    """Whether it is then sent along, with what is wrong with it, as a further turn."""
    columns: tuple[str, ...] | None = None
    """Input columns to carry into the output. None: all."""
    text_column: str = "answer"
    """The column of a text answer."""
    escape_formulas: bool = False
    """CSV only: a leading ' before cells that a spreadsheet would run as a formula."""

    @property
    def address(self) -> str | None:
        """Where the output goes besides, if that is in an object store."""
        return self.file if self.file is not None and "://" in self.file else None

    def local_file(self, job: str) -> str:
        """Project-relative, below the outputs of a target."""
        if self.address is None:
            return self.file or f"outputs/{job}.jsonl"
        return f"outputs/{job}{PurePosixPath(self.address).suffix}"

    @property
    def sent_schema(self) -> Mapping[str, Any] | None:
        """What Claude is held to; None where the answer is free."""
        return api_schema(self.schema) if self.schema is not None and self.source.kind == "structured" else None


@dataclass(frozen=True, slots=True)
class AssertionSpec:
    """One test of an output."""

    kind: str
    """A key of `ASSERTIONS`, or `sql` for a file of tests/."""
    name: str
    """Unique in the job."""
    args: Mapping[str, Any]
    """As the kind takes them."""
    severity: Literal["error", "warn"] = "error"
    warn_if: str | None = None
    """A condition on what the test counts or measures; None: as the kind has it."""
    error_if: str | None = None
    where: str | None = None
    """SQL: only such rows are tested."""
    rows: Literal["answered", "all"] = "answered"
    limit: int = 1_000
    """So many failing rows are stored at most."""
    description: str = ""
    reads: Mapping[str, OutputSpec] = field(default_factory=dict)
    """Other jobs whose outputs it needs."""
    is_late: bool = False
    """One of these jobs may run after the test's own, so that it cannot be asked before the output is there."""
    location: Location | None = field(default=None, compare=False)


CAUSES = ("invalid", "refused", "truncated", "test_failed", "votes")
"""What may send a row up to the next model, besides a condition on one of its fields."""


@dataclass(frozen=True, slots=True)
class Condition:
    """On a field of the answer; also a field without a value fulfils it."""

    field: str
    sign: Literal["<", "<=", ">", ">=", "==", "!="]
    value: float | str

    def __str__(self) -> str:
        return f"{self.field} {self.sign} {self.value}"


@dataclass(frozen=True, slots=True)
class GuaranteeSpec:
    """How often the output is to agree with the strongest model, and how sure that is to be."""

    agreement: float
    confidence: float
    score: str
    """The field of the answer that says how sure it is, or `votes`."""
    field: str = ""
    """What is to agree. Empty: what the job's tests compare with a label, else the first field."""
    sample: int | None = None
    """Rows that both models are asked; None: as many as the number of rows calls for."""


@dataclass(frozen=True, slots=True)
class LadderSpec:
    """Models of which the next is asked where the one before it is not good enough."""

    models: tuple[str, ...]
    params: tuple[Mapping[str, Any], ...]
    """Of each model: the job's own, but for what a model sets for itself."""
    causes: frozenset[str] = frozenset(("invalid", "refused", "truncated"))
    conditions: tuple[Condition, ...] = ()
    least_votes: float = 1.0
    """With `votes`: the share of equal answers under which a row goes up."""
    guarantee: GuaranteeSpec | None = None

    @property
    def has_votes(self) -> bool:
        return "votes" in self.causes or (self.guarantee is not None and self.guarantee.score == "votes")


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of a job that goes through several: each asks some of the rows that the steps before it left open."""

    number: int
    """From 1."""
    rung: int
    """The model's place in the ladder, from 1."""
    kind: Literal["rung", "turn", "sample"]
    """turn: the same model is told what was wrong; sample: the strongest model, to find out how good the first is."""
    turn: int = 0

    @property
    def scope(self) -> str:
        return f"step={self.number}"


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How requests are packed. The API takes 100,000 requests and 256 MB a batch at most."""

    max_requests: int = 20_000
    max_bytes: int = 240_000_000


@dataclass(frozen=True, slots=True)
class Label:
    name: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class FolderBudget:
    """What the jobs of a folder, and of the folders in it, may cost together in one run."""

    folder: str
    """Project-relative."""
    max_cost_usd: float | None = None
    warn_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A declared table that jobs read."""

    name: str
    input: InputSpec
    description: str = ""
    tests: tuple[AssertionSpec, ...] = ()
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class ExposureSpec:
    """A declared use of outputs."""

    name: str
    type: str
    jobs: tuple[str, ...]
    sources: tuple[str, ...] = ()
    label: str = ""
    description: str = ""
    owner: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    tags: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    location: Location | None = None
    parent_locations: Mapping[str, Location] = field(default_factory=dict)
    """Job, or `source:name` -> where it is named."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    name: str
    path: str
    """Project-relative POSIX path of the job file."""
    input: InputSpec
    model: str
    """As sent: aliases of the project are resolved, aliases of the API are not."""
    messages: tuple[MessageSpec, ...]
    params: Mapping[str, Any]
    """All other body parameters exactly as the API takes them: max_tokens, thinking, tools, tool_choice, metadata, ...,
    output_config (effort only; the format is made from `output.schema`)."""
    system: tuple[ContentTree, ...] = ()
    betas: tuple[str, ...] = ()
    output: OutputSpec = OutputSpec()
    cache: CachePolicy = CachePolicy()
    batch: BatchLimits = BatchLimits()
    mode: Literal["batch", "sync"] | None = None
    """How requests are delivered; None: as the target says. A compiled job has one."""
    min_success: float = 0.95
    tests: tuple[AssertionSpec, ...] = ()
    answers: int = 1
    """How many answers each row is given to the same request."""
    ladder: LadderSpec | None = None
    """None where there is one model. Else `model` is the first, but in a step, where it is the step's own."""
    step: StepSpec | None = None
    """None for the job as it is written."""
    canary: int | None = None
    """Rows that go first; 0 for none, None for as many as the planner finds right."""
    max_cost_usd: float | None = None
    """The most that one run of the job may cost."""
    warn_cost_usd: float | None = None
    folder_budgets: tuple[FolderBudget, ...] = ()
    """Of the folders that the job lies in, the outermost first."""
    description: str = ""
    tags: tuple[str, ...] = ()
    group: str | None = None
    depends_on: tuple[str, ...] = ()
    """Jobs that must be done before, though their rows are not read."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    """Project vars, job vars and --vars, merged in this order."""
    lists: Mapping[str, tuple[Label, ...]] = field(default_factory=dict)
    enabled: bool = True
    locations: Mapping[str, Location] = field(default_factory=dict)
    """Top-level setting -> where it was set (job file, folder defaults or project defaults)."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Top-level setting -> its value as written, for `config.x:` and for telling what was edited."""
    parent_locations: Mapping[str, Location] = field(default_factory=dict)
    """Job that this one needs -> where it is named."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Jobs that it reads or waits for, in the order in which it names them."""
        return tuple(dict.fromkeys((*self.input.refs, *self.depends_on)))

    @property
    def has_citations(self) -> bool:
        """Whether answers cite their documents."""
        return any(_asks_for_citations(block) for message in self.messages for block in message.content)

    @property
    def max_tokens(self) -> int:
        return int(self.params["max_tokens"])

    @property
    def models(self) -> tuple[str, ...]:
        """All that may be asked."""
        return self.ladder.models if self.ladder is not None else (self.model,)


def _asks_for_citations(block: ContentTree) -> bool:
    if isinstance(block, FileSource):
        return block.has_citations
    citations = block.get("citations") if isinstance(block, dict) else None
    return isinstance(citations, dict) and citations.get("enabled") is True
