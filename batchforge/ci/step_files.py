"""What a step of a pipeline leaves behind: lines of its log, annotations, a summary, outputs, and files to keep."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from batchforge.review.findings import Finding, to_annotations
from batchforge.terminal.terminal_text import printable

Forge = Literal["github", "gitlab", "none"]
MOST_SUMMARY_BYTES = 1024 * 1024
_LENGTHS = (250_000, 120_000, 60_000, 20_000, 4_000)
OUTPUTS_FILE, CODE_QUALITY_FILE = "outputs.env", "gl-code-quality-report.json"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a runner."""

    environment: Mapping[str, str]
    folder: Path
    """For files that the pipeline keeps."""

    @property
    def forge(self) -> Forge:
        if self.environment.get("GITHUB_ACTIONS") == "true":
            return "github"
        return "gitlab" if self.environment.get("GITLAB_CI") == "true" else "none"

    @contextmanager
    def literally(self) -> Iterator[None]:
        """Nothing that is printed meanwhile is obeyed by GitHub's runner: answers of models can be printed."""
        if self.forge != "github":
            yield
            return
        token = secrets.token_hex(16)
        print(f"::stop-commands::{token}", flush=True)  # noqa: T201 - it is what the runner reads
        try:
            yield
        finally:
            print(f"\n::{token}::", flush=True)  # noqa: T201 - it is what the runner reads

    def say(self, text: str) -> None:
        with self.literally():
            lines = [printable(line) for line in text.splitlines()]
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()

    def annotate(self, findings: Sequence[Finding]) -> None:
        if self.forge == "github":
            if findings:
                sys.stdout.write(to_annotations(findings) + "\n")
                sys.stdout.flush()
            return
        for found in findings:
            place = f"{found.path}:{found.line or 1}: " if found.path else ""
            self.say(f"{found.level}: {place}{found.code} {found.message}")

    def note(self, text: str, level: Literal["error", "warning", "note"] = "note") -> None:
        """Something that the step could not do, or did; also in the summary."""
        self.annotate([Finding(level, "batchforge", text)])

    def keep(self, name: str, content: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        path.write_text(content, "utf-8")
        return path

    def output(self, values: Mapping[str, str]) -> None:
        """Outputs of the step; on one line each, whatever they hold."""
        plain = {name: "".join(printable(value).splitlines()) for name, value in values.items()}
        path = self.environment.get("GITHUB_OUTPUT")
        if path:
            with Path(path).open("a", encoding="utf-8") as file:
                file.writelines(f"{name}={value}\n" for name, value in plain.items())
        self.keep(OUTPUTS_FILE, "".join(f"BATCHFORGE_{name.upper()}={value}\n" for name, value in plain.items()))

    def summarize(self, render: Callable[[int], str]) -> None:
        """`render` is given the most characters. The runner refuses a summary that is too large as a whole."""
        path = self.environment.get("GITHUB_STEP_SUMMARY")
        if not path:
            return
        target = Path(path)
        room = MOST_SUMMARY_BYTES - (target.stat().st_size if target.exists() else 0) - 1
        for length in _LENGTHS:
            data = (render(length) + "\n").encode()
            if len(data) <= room:
                with target.open("ab") as file:
                    file.write(data)
                return
