"""The Files API: documents and images that several requests share, or that are too large to stand in one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from anthropic.types import FileMetadata

from batchforge.backends.base import Connection, RemoteFile
from batchforge.backends.client import make_client, reading

_IDS_AT_ONCE = 100


class FilesApi:
    """A `FilesBackend` on the real API, or on anything that speaks it."""

    def __init__(self, connection: Connection) -> None:
        self._client = make_client(connection)

    def upload(self, path: Path, name: str, media_type: str, expires_in_s: int) -> RemoteFile:
        with reading(f"upload of {name}"), path.open("rb") as file:
            response = self._client.files.with_raw_response.upload(
                file=(name, file, media_type), expires_in_seconds=expires_in_s
            )
            metadata = response.parse()
        workspace = response.headers.get("anthropic-workspace-id", "")
        expires_at = metadata.expires_at
        return RemoteFile(metadata.id, workspace, _text(metadata.created_at), _text(expires_at) if expires_at else None)

    def present(self, file_ids: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(file_ids), _IDS_AT_ONCE):
            with reading("list of files"):
                page = self._client.files.list(ids=list(file_ids[start : start + _IDS_AT_ONCE]))
            found |= {file.id for file in page.data if not _is_expired(file)}
        return found

    def delete(self, file_id: str) -> None:
        with reading(f"deletion of {file_id}"):
            self._client.files.delete(file_id)

    def close(self) -> None:
        self._client.close()


def _is_expired(file: FileMetadata) -> bool:
    """The API still shows what a file was when it has gone."""
    if file.expires_at is None:
        return False
    return datetime.fromisoformat(_text(file.expires_at)) <= datetime.now(UTC)


def _text(time: datetime | str) -> str:
    # Models are built without validation, so a time may still be the text that came.
    return time if isinstance(time, str) else time.isoformat()
