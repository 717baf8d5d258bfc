"""One Messages request: the bytes that all rows share, encoded once, and each row's texts spliced in between.

A `RequestTemplate` is made once a job. For a row it gives the request's identity and its body without encoding the
shared bytes again: with a 12 KB system prompt that is what most of the time would go into.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from batchforge.documents import file_piece
from batchforge.documents.file_piece import PiecesToWire
from batchforge.requests import fingerprint

CacheablePart = Literal["tools", "system", "messages"]


@dataclass(frozen=True, slots=True)
class Hole:
    """The place of a text that differs from row to row; `index` counts them in the order of the body."""

    index: int


@dataclass(frozen=True, slots=True)
class FileHole:
    """The place of a content block that is a file, told by the row; the row's piece is what stands in its braces."""

    index: int


@dataclass(frozen=True, slots=True)
class SharedFile:
    """A content block that is the same file in all rows."""

    piece: bytes


@dataclass(frozen=True, slots=True)
class Slot:
    """The end of a block, where a cache breakpoint may be set."""

    index: int


@dataclass(frozen=True, slots=True)
class CacheSlot:
    """What the planner needs to know of a slot, to decide whether to mark it."""

    part: CacheablePart
    is_shared: bool
    """True where everything up to and including this block is the same in all rows."""
    prefix_bytes: int
    """Size of the static bytes up to here."""


Segment = bytes | Hole | FileHole | SharedFile | Slot
Segments = tuple[Segment, ...]


class MarkableBlock(dict[str, Any]):
    """A content block, system block or tool that can carry a cache breakpoint."""

    part: CacheablePart = "messages"


@dataclass(frozen=True, slots=True)
class MarkableFile:
    """A file block that can carry a cache breakpoint."""

    block: FileHole | SharedFile
    part: CacheablePart


def encode_segments(value: Any) -> Segments:
    """JSON bytes of `value` with its holes left open, and a slot before the end of every markable block."""
    segments: list[Segment] = []
    _Encoder(segments).encode(value)
    return tuple(segments)


class _Encoder:
    def __init__(self, segments: list[Segment]) -> None:
        self.segments = segments
        self.slots = 0

    def encode(self, value: Any) -> None:
        if isinstance(value, Hole):
            self.segments.append(value)
        elif isinstance(value, FileHole | SharedFile | MarkableFile):
            self._file(value)
        elif isinstance(value, Mapping):
            self._object(value)
        elif isinstance(value, list | tuple):
            self._array(value)
        else:
            self._bytes(msgspec.json.encode(value))

    def _object(self, value: Mapping[str, Any]) -> None:
        self._bytes(b"{")
        for number, (key, item) in enumerate(value.items()):
            self._bytes((b"," if number else b"") + msgspec.json.encode(key) + b":")
            self.encode(item)
        if isinstance(value, MarkableBlock):
            self._slot()
        self._bytes(b"}")

    def _file(self, value: FileHole | SharedFile | MarkableFile) -> None:
        self._bytes(b"{")
        self.segments.append(value.block if isinstance(value, MarkableFile) else value)
        if isinstance(value, MarkableFile):
            self._slot()
        self._bytes(b"}")

    def _slot(self) -> None:
        self.segments.append(Slot(self.slots))
        self.slots += 1

    def _array(self, value: Sequence[Any]) -> None:
        self._bytes(b"[")
        for number, item in enumerate(value):
            if number:
                self._bytes(b",")
            self.encode(item)
        self._bytes(b"]")

    def _bytes(self, data: bytes) -> None:
        if self.segments and isinstance(self.segments[-1], bytes):
            self.segments[-1] += data
        else:
            self.segments.append(data)


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A request body with open holes, as state keeps it: once a job and revision, with each row's texts beside it.
    Files are named in it, not contained."""

    text: bytes
    """The body's JSON; hole n stands as NUL n NUL, which no JSON text can hold."""

    @property
    def skeleton_id(self) -> bytes:
        return hashlib.sha256(self.text).digest()[:16]

    def fill(self, pieces: Sequence[bytes]) -> bytes:
        """The body of one row."""
        parts = self.text.split(b"\0")
        for place in range(1, len(parts), 2):
            parts[place] = pieces[int(parts[place])]
        return b"".join(parts)


class MessageRequest(NamedTuple):
    """One row's request. Bodies are made when they are needed; until then only the row's own texts are held."""

    position: int
    """Of the row in its input, from 0."""
    key: str
    request_id: bytes
    pieces: tuple[bytes, ...]
    """The row's texts as JSON strings, and its files as `file_piece` has them, one for each hole."""
    row_hashes: bytes
    """8 bytes for the row's own texts in `messages`, and 8 more where `system` differs by row too."""
    values: dict[str, Any]
    """The row."""
    place: str
    """Where the row stands, e.g. data/tickets.tsv:14."""


class BlockedRow(NamedTuple):
    """A row that cannot be asked: its request would surely be refused. A value, not an exception."""

    position: int
    key: str
    code: str
    reason: str
    values: dict[str, Any]
    place: str


class RequestTemplate:
    """The request of a job with the row's texts left open."""

    def __init__(self, params: Mapping[str, Any], betas: Sequence[str], hole_parts: Sequence[CacheablePart]) -> None:
        """
        Args:
            params: The body as the API takes it, with `Hole`s for texts that differ by row.
            betas: Sent as a header, part of the identity.
            hole_parts: For each hole, which part of the request it stands in.
        """
        body = encode_segments(fingerprint.messages_last(_markable(params)))
        self._body = body
        self.slots = tuple(_describe_slots(params, body))
        self.messages: Sequence[Mapping[str, Any]] = params["messages"]
        """With a `Hole` for each text that differs by row, a `FileHole` or `SharedFile` for each file block."""
        self.skeleton = Skeleton(b"".join(_skeleton_bytes(segment) for segment in body))
        self.hole_parts = tuple(hole_parts)
        self.file_holes = frozenset(segment.index for segment in body if isinstance(segment, FileHole))
        self._shared_files = [segment.piece for segment in body if isinstance(segment, SharedFile)]
        self.static_bytes = sum(len(segment) for segment in body if isinstance(segment, bytes))
        self._static_most_bytes = self.static_bytes + sum(map(file_piece.most_bytes, self._shared_files))
        self.static_bytes += sum(map(file_piece.estimated_bytes, self._shared_files))
        canonical = encode_segments(fingerprint.canonical_params(params, betas))
        first = canonical[0]
        assert isinstance(first, bytes)
        self._prefix = hashlib.sha256(first)
        self._rest = [_canonical_segment(segment) for segment in canonical[1:]]
        self.holes_before_slot = _holes_before_slots(body)
        """For each slot, how many of the row's texts and files stand before it."""
        self._system_holes = [n for n, part in enumerate(hole_parts) if part != "messages"]
        self._message_holes = [n for n, part in enumerate(hole_parts) if part == "messages"]

    @property
    def has_files(self) -> bool:
        return bool(self.file_holes or self._shared_files)

    def stand_ins(self, text: bytes) -> list[bytes]:
        """Pieces where there is no row: `text` for each text."""
        return [file_piece.STAND_IN if n in self.file_holes else text for n in range(len(self.hole_parts))]

    def request_id(self, pieces: Sequence[bytes]) -> bytes:
        state, pieces = self._prefix.copy(), self.identities(pieces)
        for segment in self._rest:
            state.update(pieces[segment] if isinstance(segment, int) else segment)
        return state.digest()

    def identities(self, pieces: Sequence[bytes]) -> Sequence[bytes]:
        """What the pieces ask: a file counts by its content, wherever it lies."""
        return self._each_file(file_piece.identity_of, pieces) if self.file_holes else pieces

    def _each_file(self, change: Callable[[bytes], bytes], pieces: Sequence[bytes]) -> list[bytes]:
        return [change(piece) if n in self.file_holes else piece for n, piece in enumerate(pieces)]

    def row_hashes(self, pieces: Sequence[bytes]) -> bytes:
        pieces = self.identities(pieces)
        hashes = _short_hash([pieces[n] for n in self._message_holes])
        if self._system_holes:
            hashes += _short_hash([pieces[n] for n in self._system_holes])
        return hashes

    def piece_bytes(self, pieces: Sequence[bytes]) -> int:
        """Size of the row's own texts; a file counts as a text of as many tokens."""
        if not self.file_holes:
            return sum(map(len, pieces))
        return sum(file_piece.estimated_bytes(p) if n in self.file_holes else len(p) for n, p in enumerate(pieces))

    def body_bytes(self, pieces: Sequence[bytes]) -> int:
        """Size of the row's body without cache marks; a file counts as a text of as many tokens."""
        return self.static_bytes + self.piece_bytes(pieces)

    def most_bytes(self, pieces: Sequence[bytes]) -> int:
        """Size of a body of text that surely has no fewer tokens than the row's."""
        if not self.file_holes:
            return self._static_most_bytes + sum(map(len, pieces))
        sizes = (file_piece.most_bytes(p) if n in self.file_holes else len(p) for n, p in enumerate(pieces))
        return self._static_most_bytes + sum(sizes)

    def file_pieces(self, pieces: Sequence[bytes]) -> list[bytes]:
        """All files of a row's request, in the order of the body."""
        found = (_file_piece(segment, pieces) for segment in self._body)
        return [piece for piece in found if piece is not None]

    def body_writer(
        self, marks: Mapping[int, bytes], to_wire: PiecesToWire = file_piece.with_stand_in_ids
    ) -> Callable[[Sequence[bytes]], bytes]:
        """A function from a row's pieces to its body, with breakpoints at the slots in `marks`.

        `marks` maps a slot's index to the JSON of its cache_control; `to_wire` gives what is sent in a file's place.
        """
        joined = _with_marks(self._body, marks)

        def write(pieces: Sequence[bytes]) -> bytes:
            return b"".join([pieces[part] if isinstance(part, int) else part for part in joined])

        def write_files(pieces: Sequence[bytes]) -> bytes:
            files = iter(to_wire(self.file_pieces(pieces)))
            return b"".join([next(files) if n in at_files else _part(part, pieces) for n, part in enumerate(joined)])

        at_files = {n for n, part in enumerate(joined) if part in self._shared_files or part in self.file_holes}
        return write_files if at_files else write


def _markable(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same body, its cacheable blocks replaced by markable ones and its strings by blocks."""
    marked = dict(params)
    if params.get("tools"):
        marked["tools"] = [_block(tool, "tools") for tool in params["tools"]]
    if params.get("system"):
        marked["system"] = [_block(block, "system") for block in fingerprint.as_blocks(params["system"])]
    marked["messages"] = [
        {**message, "content": [_block(block, "messages") for block in fingerprint.as_blocks(message["content"])]}
        for message in params["messages"]
    ]
    return marked


def _block(block: Any, part: CacheablePart) -> Any:
    if isinstance(block, FileHole | SharedFile):
        return MarkableFile(block, part)
    # Thinking blocks take no mark, and a mark that the user wrote stays the only one.
    if block.get("type") in {"thinking", "redacted_thinking"} or "cache_control" in block:
        return block
    markable = MarkableBlock(block)
    markable.part = part
    return markable


def _describe_slots(params: Mapping[str, Any], body: Segments) -> Iterable[CacheSlot]:
    parts = _slot_parts(params)
    is_shared, size = True, 0
    # Tools and system stand before messages in the body, in the order in which the model reads them.
    for segment in body:
        if isinstance(segment, bytes):
            size += len(segment)
        elif isinstance(segment, SharedFile):
            size += file_piece.estimated_bytes(segment.piece)
        elif isinstance(segment, Hole | FileHole):
            is_shared = False
        else:
            yield CacheSlot(parts[segment.index], is_shared, size)


def _holes_before_slots(body: Segments) -> tuple[int, ...]:
    holes, counts = 0, []
    for segment in body:
        if isinstance(segment, Hole | FileHole):
            holes += 1
        elif isinstance(segment, Slot):
            counts.append(holes)
    return tuple(counts)


def _slot_parts(params: Mapping[str, Any]) -> list[CacheablePart]:
    parts: list[CacheablePart] = []
    marked = fingerprint.messages_last(_markable(params))
    for name, value in marked.items():
        blocks = [b for m in value for b in m["content"]] if name == "messages" else value
        if name in {"messages", "system", "tools"}:
            parts += [b.part for b in blocks if isinstance(b, MarkableBlock | MarkableFile)]
    return parts


def _part(part: bytes | int, pieces: Sequence[bytes]) -> bytes:
    return pieces[part] if isinstance(part, int) else part


def _with_marks(body: Segments, marks: Mapping[int, bytes]) -> list[bytes | int]:
    """Bytes and hole numbers, neighbouring bytes joined; the piece of a shared file stays by itself."""
    joined: list[bytes | int] = []
    for segment in body:
        if isinstance(segment, Hole | FileHole):
            joined.append(segment.index)
            continue
        if isinstance(segment, SharedFile):
            joined += (segment.piece, b"")
            continue
        data = segment if isinstance(segment, bytes) else _mark_bytes(marks.get(segment.index))
        if joined and isinstance(joined[-1], bytes):
            joined[-1] += data
        else:
            joined.append(data)
    return joined


def _mark_bytes(cache_control: bytes | None) -> bytes:
    return b',"cache_control":' + cache_control if cache_control else b""


def _skeleton_bytes(segment: Segment) -> bytes:
    match segment:
        case bytes():
            return segment
        case SharedFile():
            return segment.piece
        case Hole() | FileHole():
            return b"\0%d\0" % segment.index
        case Slot():
            return b""


def _canonical_segment(segment: Segment) -> bytes | int:
    if isinstance(segment, Hole | FileHole):
        return segment.index
    if isinstance(segment, SharedFile):
        return file_piece.identity_of(segment.piece)
    assert isinstance(segment, bytes)
    return segment


def _file_piece(segment: Segment, pieces: Sequence[bytes]) -> bytes | None:
    if isinstance(segment, SharedFile):
        return segment.piece
    return pieces[segment.index] if isinstance(segment, FileHole) else None


def _short_hash(pieces: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"\0".join(pieces)).digest()[:8]
