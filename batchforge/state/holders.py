"""Who holds an open attempt: a process on a machine, so that a dead one can be told from a busy one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

_let_go: set[tuple[str, int, str]] = set()


def let_go(state_url: str, attempt_id: int, created_at: str) -> None:
    """This process has given up in the middle of an attempt, and lives on: nobody is at work on it any more."""
    _let_go.add((state_url, attempt_id, created_at))


def was_let_go(state_url: str, attempt_id: int, created_at: str) -> bool:
    return (state_url, attempt_id, created_at) in _let_go


@cache
def this_holder() -> str:
    """host:process id:start time of the process, which tells a process from a later one of the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"


def is_alive(holder: str, since: datetime, now: datetime, lease_s: float) -> bool:
    """Whether the holder may still be at work. One on another machine is believed to be for `lease_s` seconds."""
    host, pid, started = holder.rsplit(":", 2)
    if host != socket.gethostname():
        return now < since + timedelta(seconds=lease_s)
    return _start_time(int(pid)) == started


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
