"""A command of BatchForge, run as a process of its own by a step: its exit code, its JSON, and what went wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchforge.ci.step_files import Step
from batchforge.review.findings import Finding

_PROBLEM = re.compile(r"^(?:error |warning )?(BF\d{3}) (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ended:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def value(self) -> dict[str, Any]:
        """Its JSON; empty where it broke off."""
        try:
            found = json.loads(self.stdout)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def is_about_nothing(self) -> bool:
        """No job was chosen, as where a change touches none: a success."""
        return self.exit_code == 0 and self.value.get("jobs") == []

    @property
    def problems(self) -> list[Finding]:
        return [Finding("error", code, message) for code, message in _PROBLEM.findall(self.stderr)]


def call(step: Step, root: Path, *words: str) -> Ended:
    """Its words go to the log, where the runner does not obey them."""
    command = [sys.executable, "-c", "from batchforge.cli import main; main()", *words, "--project-dir", str(root)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    step.say(f"$ batchforge {words[0]}\n{done.stderr}")
    return Ended(done.returncode, done.stdout, done.stderr)
