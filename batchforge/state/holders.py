"""Who holds an open attempt: a process on a machine, so that a dead one can be told from a busy one."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Holder:
    """Who is at work, for the program and for people."""

    process: str
    """host:process id:start time."""
    started_by: str
    """user@host"""
    job_url: str
    """Of the CI job; empty elsewhere."""


_let_go: set[tuple[str, int, str]] = set()


def let_go(state_url: str, attempt_id: int, created_at: str) -> None:
    """This process has given up in the middle of an attempt, and lives on: nobody is at work on it any more."""
    _let_go.add((state_url, attempt_id, created_at))


def was_let_go(state_url: str, attempt_id: int, created_at: str) -> bool:
    return (state_url, attempt_id, created_at) in _let_go


@cache
def this_holder() -> str:
    """host:process id:start time of the process, which tells a process from a later one of the same number."""
    return f"{_machine()}:{os.getpid()}:{_start_time(os.getpid())}"


@cache
def _machine() -> str:
    """The host's name, and what tells containers of one name apart: their process ids mean different processes."""
    parts = []
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    mark = f"/{zlib.crc32(' '.join(parts).encode()):08x}" if parts else ""
    return f"{socket.gethostname()}{mark}"


def this_holder_in_words() -> Holder:
    return Holder(this_holder(), user_at_host(), ci_job_url(os.environ))


def user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def ci_job_url(environment: Mapping[str, str]) -> str:
    """Where the job that this process runs in can be looked at; empty outside of CI.

    >>> ci_job_url({"CI_JOB_URL": "https://ci.example/jobs/7"})
    'https://ci.example/jobs/7'
    """
    parts = [environment.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
    if all(parts):
        server, repository, run_id = parts
        return f"{server}/{repository}/actions/runs/{run_id}"
    return environment.get("CI_JOB_URL") or environment.get("BUILD_URL") or ""


def is_alive(holder: str, since: datetime, now: datetime, lease_s: float) -> bool:
    """Whether the holder may still be at work. One on another machine is believed to be for `lease_s` seconds."""
    is_here = is_alive_here(holder)
    return now < since + timedelta(seconds=lease_s) if is_here is None else is_here


def is_alive_here(holder: str) -> bool | None:
    """None where that cannot be known, since it is a process of another machine."""
    machine, pid, started = holder.rsplit(":", 2)
    return _start_time(int(pid)) == started if machine == _machine() else None


def _start_time(pid: int) -> str:
    """Empty where there is no such process."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        state, start = (fields := stat.rpartition(")")[2].split())[0], fields[19]
        return "" if state == "Z" else start
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip().replace(":", ".")
