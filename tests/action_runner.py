"""action.yml as a runner takes it: inputs and outputs by its own expressions, each `run` step by its own shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.builders import TREE, child_environment
from tests.forge_server import TOKEN, ForgeServer

ACTION: dict[str, Any] = yaml.safe_load((TREE / "action.yml").read_text())
_EXPRESSION = re.compile(r"\$\{\{ (.+?) \}\}")
_NEEDS_PYPI = "Install BatchForge"


@dataclass(frozen=True, slots=True)
class StepResult:
    exit_code: int
    log: str
    outputs: Mapping[str, str]
    """Of the action, by the names that action.yml gives them."""
    summary: str

    def obeyed(self) -> list[str]:
        """Workflow commands that a runner would take from the log."""
        found, token = [], ""
        for line in self.log.splitlines():
            if token:
                token = "" if line.strip() == f"::{token}::" else token
            elif line.lstrip().startswith("::stop-commands::"):
                token = line.strip().removeprefix("::stop-commands::")
            elif line.lstrip().startswith("::") or "##[" in line:
                found.append(line)
        return found


class ActionRunner:
    """Runs the action in a clone, against a forge."""

    def __init__(self, folder: Path, forge: ForgeServer, temp: Path) -> None:
        self.folder, self.forge, self.temp = folder, forge, temp
        temp.mkdir(parents=True, exist_ok=True)
        tool = temp / "bin/batchforge"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from batchforge.cli import main; main()" "$@"\n')
        tool.chmod(0o755)

    def run(
        self, event: str, payload: Mapping[str, Any], *, run: int = 1, sha: str = "", token: str = TOKEN,
        env: Mapping[str, str] | None = None, **inputs: str,
    ) -> StepResult:  # fmt: skip
        given = {name: str(spec.get("default", "")) for name, spec in ACTION["inputs"].items()}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        given["token"] = token if given["token"] == "${{ github.token }}" else given["token"]
        files = {name: self.temp / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_EVENT_PATH")}
        for path in files.values():
            path.write_text("")
        files["GITHUB_EVENT_PATH"].write_text(json.dumps(payload))
        machine = {
            "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": event, "GITHUB_REPOSITORY": "o/r", "GITHUB_SHA": sha,
            "GITHUB_RUN_ID": str(run), "GITHUB_RUN_ATTEMPT": "1", "GITHUB_API_URL": self.forge.url,
            "GITHUB_ACTION_PATH": str(TREE), "GITHUB_BASE_REF": "main" if event == "pull_request" else "",
            "PATH": f"{self.temp / 'bin'}:{os.environ['PATH']}",
            **{name: str(path) for name, path in files.items()}, **(env or {}),
        }  # fmt: skip
        exit_code, log = self._steps(given, machine)
        written = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        context = {**{f"inputs.{name}": value for name, value in given.items()}, **_step_outputs(written)}
        outputs = {name: _filled(spec["value"], context) for name, spec in ACTION["outputs"].items()}
        if outputs["plan-hash"]:
            self.forge.keep_plan(_filled(_upload()["with"]["name"], context), Path(outputs["plan-file"]).read_bytes())
        return StepResult(exit_code, log, outputs, files["GITHUB_STEP_SUMMARY"].read_text())

    def _steps(self, inputs: Mapping[str, str], machine: Mapping[str, str]) -> tuple[int, str]:
        context = {f"inputs.{name}": value for name, value in inputs.items()}
        log = ""
        for step in ACTION["runs"]["steps"]:
            if "run" not in step or step["name"] == _NEEDS_PYPI:
                continue
            env = {name: _filled(value, context) for name, value in step["env"].items()}
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.folder, env=child_environment(**machine, **env), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
            )  # fmt: skip
            log += done.stdout
            if done.returncode:
                return done.returncode, log
        return 0, log


def _upload() -> dict[str, Any]:
    (step,) = [each for each in ACTION["runs"]["steps"] if "upload-artifact" in each.get("uses", "")]
    return dict(step)


def _filled(text: str, context: Mapping[str, str]) -> str:
    return _EXPRESSION.sub(lambda found: context.get(found[1], ""), text)


def _step_outputs(written: Mapping[str, str]) -> dict[str, str]:
    return {f"steps.batchforge.outputs.{name}": value for name, value in written.items()}


def pull_request(number: int, head: str, source: str = "o/r", **more: Any) -> dict[str, Any]:
    head_value = {"sha": head, "repo": {"full_name": source}, **more}
    return {"pull_request": {"number": number, "head": head_value}}
