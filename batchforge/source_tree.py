"""Project files of the work tree, by project-relative POSIX path; nothing is read from outside the root."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import BinaryIO

from batchforge.errors import Location, ProjectError
from batchforge.nearest import did_you_mean


class SourceTree:
    """Read-only view of a project's files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real_root = os.path.realpath(root)

    def read_text(self, path: str) -> str:
        """A prompt's or a config file's text: CRLF and CR become LF, a byte order mark is dropped."""
        return _decode(self.read_bytes(path), path).replace("\r\n", "\n").replace("\r", "\n")

    def read_bytes(self, path: str) -> bytes:
        with self.open_binary(path) as file:
            return file.read()

    def open_binary(self, path: str) -> BinaryIO:
        local = self.local_path(path)
        try:
            return local.open("rb")
        except FileNotFoundError:
            raise self._not_found(path) from None
        except OSError as exc:
            raise _unreadable(path, exc) from exc

    def exists(self, path: str) -> bool:
        """Is it a file that may be read?"""
        return os.path.isfile(self.local_path(path))  # noqa: PTH113 - False, not an error, where we may not look

    def local_path(self, path: str) -> Path:
        """Where the file lies on this machine, for libraries that open files by name. It need not exist."""
        local = f"{self._real_root}/{checked_path(path)}"
        real = os.path.realpath(local)
        if real != self._real_root and not real.startswith(self._real_root.rstrip(os.sep) + os.sep):
            raise ProjectError(
                "BF123",
                f"`{path}` is a symbolic link that leads out of the project.",
                hint="Copy the file into the project; nothing outside its folder is read.",
            )
        return Path(local)

    def glob(self, pattern: str) -> list[str]:
        """Files that match, sorted. `*` and `?` stay within a folder, `**` stands for any folders, also none.

        Names that begin with a dot are found only by a pattern that says so.
        """
        segments = checked_path(pattern).split("/")
        found = set(self._expand("", segments))
        return sorted(path for path in found if self.exists(path))

    def _expand(self, folder: str, segments: list[str]) -> Iterator[str]:
        segment, rest = segments[0], segments[1:]
        if segment == "**":
            yield from self._expand(folder, rest or ["*"])
            for name in self._names(folder, "*"):
                path = folder + name
                if self._is_own_folder(path):
                    yield from self._expand(f"{path}/", segments)
            return
        for name in self._names(folder, segment):
            if not rest:
                yield folder + name
            elif self._is_folder(folder + name):
                yield from self._expand(f"{folder}{name}/", rest)

    def _names(self, folder: str, pattern: str) -> Iterator[str]:
        if not _is_pattern(pattern):
            yield pattern
            return
        matches = _matcher(pattern).match
        for name in self._listed(folder):
            if matches(name) and (name[0] != "." or pattern[0] == "."):
                yield _checked_name(folder, name)

    def _listed(self, folder: str) -> Iterable[str]:
        """The names in a folder that is given with its slash; none where it is no folder."""
        try:
            return os.listdir(f"{self._real_root}/{folder}")  # noqa: PTH208 - names are all we need
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as exc:
            raise _unreadable(folder, exc) from exc

    def _is_folder(self, path: str) -> bool:
        return os.path.isdir(self.local_path(path))  # noqa: PTH112

    def _is_own_folder(self, path: str) -> bool:
        local = f"{self._real_root}/{path}"
        return os.path.isdir(local) and not os.path.islink(local)  # noqa: PTH112, PTH114 - on the path of every file

    def _not_found(self, path: str) -> ProjectError:
        return ProjectError("BF121", f"There is no file `{path}`.", hint=self._nearest(path))

    def _nearest(self, path: str) -> str:
        folder = path.rpartition("/")[0]
        return (
            did_you_mean(path, self.glob(f"{folder}/*" if folder else "*"))
            or "Paths are relative to the project's folder."
        )


def _decode(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = data[: exc.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise ProjectError(
            "BF112",
            f"The byte 0x{data[exc.start]:02x} is not UTF-8 text.",
            hint="Save the file as UTF-8.",
            location=Location(path, line, column),
        ) from None


def _unreadable(path: str, exc: OSError) -> ProjectError:
    reason = exc.strerror or type(exc).__name__
    return ProjectError("BF124", f"`{path}` cannot be read: {reason}.", hint="Check that it is a file you may read.")


def checked_path(path: str) -> str:
    """The path without `.` and doubled slashes; whatever points outside the root is refused."""
    if path.startswith(("/", "~")) or "\\" in path or "\0" in path or re.match("[A-Za-z]:", path):
        raise _outside(path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise _outside(path)
    return "/".join(parts)


def _outside(path: str) -> ProjectError:
    return ProjectError(
        "BF122",
        f"`{path}` is not a path inside the project.",
        hint="Write it relative to the project's folder, with forward slashes and without `..`.",
    )


def _checked_name(folder: str, name: str) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        shown = folder + name.encode("utf-8", "backslashreplace").decode()
        raise ProjectError("BF125", f"The name of `{shown}` is not UTF-8.", hint="Rename the file.") from None
    return name


def _is_pattern(segment: str) -> bool:
    return any(character in segment for character in "*?[")


@cache
def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
