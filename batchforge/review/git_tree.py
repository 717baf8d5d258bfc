"""Project files as of a commit, as a `SourceTree`; and the rows beside them, from the work tree where need be."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from batchforge.errors import ProjectError
from batchforge.review.git_objects import LINK, SUBMODULE, Entry, Repository
from batchforge.source_tree import SourceTree, checked_path

_MOST_LINKS = 20
_LFS = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1024


class GitTree(SourceTree):
    """The files that a commit holds below a folder. Close it: files that were copied out for libraries go then."""

    def __init__(self, root: Path, repository: Repository, commit: str, prefix: str) -> None:
        """`root` is where the project lies on this machine; `prefix` where it lay in the commit."""
        super().__init__(root)
        self.commit, self.prefix = commit, prefix
        self.beside: SourceTree | None = None
        """Where data that the commit does not hold is read: documents that rows name, and the rows' own files."""
        self._repository = repository
        self._files = repository.tree(commit, prefix) or {}
        self._folders = _folders_of(self._files)
        self._submodules: dict[str, GitTree] = {}
        self._copies = tempfile.TemporaryDirectory(prefix="batchforge-revision-")

    def close(self) -> None:
        self._copies.cleanup()
        for tree in self._submodules.values():
            tree.close()
            tree._repository.close()

    def open_binary(self, path: str) -> BinaryIO:
        tree, entry = self._require(path)
        return io.BytesIO(tree._repository.read(entry.object_id))

    def exists(self, path: str) -> bool:
        return self._find(checked_path(path)) is not None

    def local_path(self, path: str) -> Path:
        """A private copy, read only by us; made when it is first asked for. What is opened by name is data."""
        if self.beside is not None and not self.holds(path):
            return self.beside.local_path(path)
        tree, entry = self._require(path)
        copy = Path(self._copies.name) / entry.object_id / PurePosixPath(path).name
        if not copy.exists():
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            with copy.open("wb") as file:
                tree._repository.copy(entry.object_id, file)
        return copy

    def holds(self, path: str) -> bool:
        """Whether the commit has the file's content: not so where it is missing, or a pointer of large file storage
        whose content lies beside."""
        if not self.exists(path):
            return False
        return not (self.beside is not None and self.beside.exists(path) and self._is_pointer(path))

    def _is_pointer(self, path: str) -> bool:
        with self.open_binary(path) as file:
            head = file.read(_LFS_POINTER_BYTES)
        return head.startswith(_LFS) and re.search(rb"^oid sha256:", head, re.MULTILINE) is not None

    def _listed(self, folder: str) -> Iterable[str]:
        tree, inner = self._inside(folder.rstrip("/"))
        return tree._folders.get(inner, ())

    def _is_own_folder(self, path: str) -> bool:
        tree, inner = self._inside(path)
        return inner in tree._folders

    def _is_folder(self, path: str) -> bool:
        return self._is_own_folder(path)

    # ---- finding

    def _require(self, path: str) -> tuple[GitTree, Entry]:
        found = self._find(checked_path(path))
        if found is None:
            raise self._not_found(path)
        return found

    def _find(self, path: str, links: int = 0) -> tuple[GitTree, Entry] | None:
        tree, inner = self._inside(path)
        entry = tree._files.get(inner)
        if entry is not None and entry.mode != LINK:
            return (tree, entry) if entry.mode != SUBMODULE else None
        target = tree._link_target(inner)
        if target is None or links >= _MOST_LINKS:
            return None
        return tree._find(target, links + 1)

    def _link_target(self, path: str) -> str | None:
        """Where a path leads that is a link, or goes through one."""
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            entry = self._files.get("/".join(parts[:length]))
            if entry is not None and entry.mode == LINK:
                link = self._repository.read(entry.object_id).decode("utf-8", "surrogateescape")
                return _joined([*parts[: length - 1]], link, parts[length:], path)
        return None

    def _inside(self, path: str) -> tuple[GitTree, str]:
        """The tree that holds a path: this one, or that of a submodule."""
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            folder = "/".join(parts[:length])
            entry = self._files.get(folder)
            if entry is not None and entry.mode == SUBMODULE:
                return self._submodule(folder, entry)._inside("/".join(parts[length:]))
        return self, path

    def _submodule(self, folder: str, entry: Entry) -> GitTree:
        if folder not in self._submodules:
            self._submodules[folder] = self._open_submodule(folder, entry)
        return self._submodules[folder]

    def _open_submodule(self, folder: str, entry: Entry) -> GitTree:
        hint = f"`git submodule update --init`, then `git -C {folder} fetch origin {entry.object_id[:12]}`."
        root = self.root / folder
        if root.is_dir():
            repository = Repository(root)
            if repository.prefix == "" and repository.commit(entry.object_id):
                return GitTree(root, repository, entry.object_id, "")
            repository.close()
        message = f"`{folder}` is a submodule, and its commit {entry.object_id[:12]} is not in this clone."
        raise ProjectError("BF175", message, hint=hint)


class RowsTree(SourceTree):
    """Where the rows of an older side are read: in its commit, else where the newer side reads them.

    Files that git does not know (data too large or too private to be committed) are one snapshot for both sides, so
    that a difference between them is never an accident of what lies around.
    """

    def __init__(self, files: GitTree, newer: SourceTree, repository: Repository) -> None:
        super().__init__(files.root)
        self._files, self._newer, self._repository = files, newer, repository
        files.beside = newer

    def open_binary(self, path: str) -> BinaryIO:
        return self._holder(path).open_binary(path)

    def exists(self, path: str) -> bool:
        return self._files.exists(path) or self._newer.exists(path)

    def local_path(self, path: str) -> Path:
        return self._files.local_path(path)

    def glob(self, pattern: str) -> list[str]:
        committed, beside = self._files.glob(pattern), self._newer.glob(pattern)
        if not committed:
            return beside
        ignored = self._repository.ignored([path for path in beside if path not in committed])
        return sorted({*committed, *ignored})

    def _holder(self, path: str) -> SourceTree:
        return self._files if self._files.holds(path) else self._newer


def find_moved_project(repository: Repository, commit: str, file_name: str, taken: set[str]) -> str | None:
    """Where the project lay in a commit that does not hold it here: the one place that no project has now."""
    found = repository.folders_with(file_name, commit) - taken
    return found.pop() if len(found) == 1 else None


def _joined(before: list[str], link: str, after: list[str], path: str) -> str:
    parts = list(before)
    for step in [*link.split("/"), *after]:
        if step == "..":
            if not parts:
                raise _leads_out(path)
            parts.pop()
        elif step not in ("", "."):
            parts.append(step)
    if link.startswith("/") or not parts:
        raise _leads_out(path)
    return "/".join(parts)


def _leads_out(path: str) -> ProjectError:
    return ProjectError(
        "BF123",
        f"`{path}` is a symbolic link that leads out of the project.",
        hint="Copy the file into the project; nothing outside its folder is read.",
    )


def _folders_of(files: Mapping[str, Entry]) -> dict[str, dict[str, None]]:
    """Folder -> the names in it; the root is the empty name."""
    folders: dict[str, dict[str, None]] = {"": {}}
    for path in files:
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, {})[name] = None
        while folder:
            folder, _, name = folder.rpartition("/")
            folders.setdefault(folder, {})[name] = None
    return folders
