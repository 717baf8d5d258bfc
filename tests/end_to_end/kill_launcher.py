"""Runs the command line in forked children that are killed at their n-th call. One order a line in, one answer out.

Everything is imported before the fork, so that a run costs milliseconds; the child then is the real command line. An
order with a `skew_s` plays time (clock_shim.c): its sleeps cost nothing, and its clock is wrong by so many seconds. In
one with a `fails_at` the disk fails from the n-th call on (disk_shim.c).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

WARM = (
    "batchforge.cli",
    "batchforge.commands.run",
    "batchforge.commands.collect",
    "batchforge.commands.resume",
    "batchforge.execution.executor",
    "batchforge.pipeline",
    "batchforge.terminal.progress",
    "batchforge.execution.recovery",
    "batchforge.terminal.report",
    "batchforge.selection",
    "batchforge.state.sqlite",
    "batchforge.execution.sync_executor",
    "batchforge.targets",
    "batchforge.terminal.terminal",
    "batchforge.backends.batch",
    "batchforge.backends.sync",
    "difflib",
    "encodings.idna",
    "httpcore2",
    "truststore",
)
BEFORE, HALFWAY, AFTER = 0, 1, 2
HANGS_AFTER_S = 60
"""Real seconds; a run whose time is played takes less than one."""


def main() -> None:
    shim = ctypes.CDLL(None)
    shim.kill_shim_calls.restype = ctypes.c_long
    shim.kill_shim_name.restype = ctypes.c_char_p
    disk_calls = getattr(shim, "disk_shim_calls", lambda: 0)
    shim.kill_shim_name.argtypes = [ctypes.c_long]
    for name in WARM:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(shim, order)
        _, status = os.waitpid(child, 0)
        calls = [shim.kill_shim_name(number + 1).decode() for number in range(shim.kill_shim_calls())]
        ended = {"exit_code": os.waitstatus_to_exitcode(status), "calls": calls, "disk_calls": disk_calls()}
        print(json.dumps(ended), flush=True)


def _run(shim: Any, order: dict[str, Any]) -> NoReturn:
    from batchforge.cli import main as batchforge

    output = os.open(Path(order["folder"]) / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(order["folder"])
    if "skew_s" in order:
        shim.clock_shim_arm(ctypes.c_double(order["skew_s"]))
        signal.alarm(HANGS_AFTER_S)
    if "fails_at" in order:
        shim.disk_shim_arm(ctypes.c_long(order["fails_at"]), order["error"], order["is_for_good"])
    sys.argv = ["batchforge", *order["words"]]
    shim.kill_shim_arm(ctypes.c_long(order["kill_at"]), order["moment"])
    try:
        batchforge()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 70)
    os._exit(0)


if __name__ == "__main__":
    main()
