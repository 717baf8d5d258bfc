"""Uploaded files: metadata in the store, bytes beside it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from batchforge.emulator.ids import new_id
from batchforge.emulator.store import Store


@dataclass(frozen=True, slots=True)
class StoredFile:
    no: int
    id: str
    filename: str
    mime_type: str
    size_bytes: int
    created_s: float
    expires_s: float | None

    def is_expired(self, now_s: float) -> bool:
        return self.expires_s is not None and now_s >= self.expires_s


class FileStore:
    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, workspace: str, filename: str, mime_type: str, content: bytes, now_s: float, expires_s: float | None
    ) -> StoredFile:
        file_id = new_id("file")
        self.content_file(file_id).write_bytes(content)
        self._store.execute(
            "INSERT INTO files (id, workspace, filename, mime_type, size_bytes, created_at, expires_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(file_id, workspace, filename, mime_type, len(content), now_s, expires_s),
        )
        file = self.find(file_id, workspace)
        assert file is not None
        return file

    def find(self, file_id: str, workspace: str) -> StoredFile | None:
        row = self._store.row("SELECT * FROM files WHERE id = ? AND workspace = ?", file_id, workspace)
        return None if row is None else _stored(row)

    def list(self, workspace: str, before_no: int | None, limit: int) -> list[StoredFile]:
        """The newest first."""
        end = 1 << 62 if before_no is None else before_no
        rows = self._store.rows(
            "SELECT * FROM files WHERE workspace = ? AND no < ? ORDER BY no DESC LIMIT ?", workspace, end, limit
        )
        return [_stored(row) for row in rows]

    def delete(self, file_id: str) -> None:
        self._store.execute("DELETE FROM files WHERE id = ?", file_id)
        self.content_file(file_id).unlink(missing_ok=True)

    def content_file(self, file_id: str) -> Path:
        return self._store.bodies / file_id


def _stored(row: sqlite3.Row) -> StoredFile:
    return StoredFile(
        no=row["no"],
        id=row["id"],
        filename=row["filename"],
        mime_type=row["mime_type"],
        size_bytes=row["size_bytes"],
        created_s=row["created_at"],
        expires_s=row["expires_at"],
    )
