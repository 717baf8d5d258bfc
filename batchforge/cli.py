"""The front door: one group of commands, each loaded only when it is called, and the one handler of errors."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from itertools import pairwise
from types import FrameType
from typing import Any

import click

from batchforge.errors import EXIT_INTERRUPTED, EXIT_OUR_BUG, BatchForgeError

COMMANDS = {
    "adopt": "Take a batch for the uncertain attempt that sent it.",
    "build": "Run jobs and test their outputs, in their order.",
    "cancel": "Cancel the batches that are in flight.",
    "clean": "Remove target/, which can be made again.",
    "ci": "Review, submit and collect in a pipeline.",
    "collect": "Fetch what is in flight and write outputs; never sends.",
    "compare": "Ask a sample in several ways, find the cheapest.",
    "compile": "Render all requests and check them; sends nothing.",
    "diff": "Show what a change asks anew, and what it costs.",
    "debug": "Show versions, project, target, state, and what is wrong.",
    "cost": "Show what was spent, by job, day, model and more.",
    "emulator": "Run a stand-in for Claude's API on this machine.",
    "explain": "Explain an error code.",
    "fetch": "Take snapshots of queries and remote files.",
    "find": "Find whose a custom_id, batch, message or run is.",
    "history": "Show every answer that a row ever had.",
    "init": "Make a project that runs at once, from a file of yours.",
    "ls": "List jobs with their tags and descriptions.",
    "models": "List Claude models, their limits and prices.",
    "parse": "Check batchforge.yml and all job files.",
    "plan": "Show what a run would send, why, and what it costs.",
    "prompts": "Write rendered prompts to commit, and check them.",
    "render": "Print requests as a person reads them.",
    "resume": "Go on with the last run that did not end.",
    "retry": "Run again, asking failed rows once more.",
    "run": "Send what is missing, wait for it, write outputs.",
    "runs": "List runs: what they sent, cost, and who ran them.",
    "show": "Show rows with their requests and answers.",
    "state": "Look into the state, export it, prune it.",
    "status": "Show what is in flight.",
    "test": "Test outputs again; sends nothing.",
    "try": "Answer a few rows at once, with their price.",
    "verify-live": "Try our facts of the API against the API, for cents.",
}
"""Command -> its line in --help, held here so that --help need not load the commands."""


_NEW_OBJECTS_PER_COLLECTION = 100_000
"""Rows make many objects and no cycles: looking for these after each 700 took 6 % of the CPU of a run."""


class LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"batchforge.commands.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from batchforge.nearest import did_you_mean

            ctx.fail(f"There is no command '{args[0]}'. {did_you_mean(args[0], COMMANDS)}".strip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def _print_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        click.echo(f"batchforge {version('batchforge')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show it.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks. Can stand behind the command too.")
@click.option("--profile", is_flag=True, expose_value=False, help="Show where time and memory went. Likewise.")
def batchforge() -> None:
    """Run Claude over data in bulk: job specs in git, batches at half price, and no answer paid twice."""


def main() -> None:
    """The console script."""
    gc.set_threshold(_NEW_OBJECTS_PER_COLLECTION)
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _hang_up)
    sys.exit(run_command(sys.argv[1:]))


def run_command(args: list[str]) -> int:
    """The exit code of a command line; what is to be said has been said."""
    if "--profile" in args:
        return _profiled([word for word in args if word != "--profile"])
    is_debug = "--debug" in args
    try:
        words = [word for word in args if word != "--debug"]
        value: Any = batchforge.main(words, prog_name="batchforge", standalone_mode=False)
        return value if isinstance(value, int) else 0
    except BatchForgeError as exc:
        if is_debug:
            traceback.print_exc()
        _log(exc) if _logs_json(args) else _show(exc)
        return exc.exit_code
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        if not _logs_json(args):
            click.echo("Interrupted.", err=True)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as exc:
        return _disk_or_bug(exc, args, is_debug)
    except MemoryError:
        return _no_memory(args)
    except Exception as exc:
        return _our_bug(exc, is_debug)


def _profiled(args: list[str]) -> int:
    from batchforge.profiling import take_profile
    from batchforge.terminal.profile_text import log_profile, profile_lines

    profile = take_profile()
    exit_code = run_command(args)
    with suppress(BrokenPipeError):
        if _logs_json(args):
            log_profile(sys.stderr, profile)
        else:
            click.echo("\n".join(["", *profile_lines(profile)]), err=True)
    return exit_code


def _logs_json(args: list[str]) -> bool:
    return "--log-format=json" in args or ("--log-format", "json") in pairwise(args)


def _log(exc: BatchForgeError) -> None:
    from batchforge.terminal.log_format import write_problem

    for problem in exc.problems:
        write_problem(sys.stderr, problem)


def _show(exc: BatchForgeError) -> None:
    from batchforge.terminal.problem_text import render_problems
    from batchforge.terminal.terminal import wants_color

    click.echo(render_problems(exc.problems, color=wants_color(sys.stderr)), err=True)
    code = exc.problems[0].code
    click.echo(f"\nMore about it: batchforge explain {code}", err=True)


def _disk_or_bug(exc: OSError, args: list[str], is_debug: bool) -> int:
    from batchforge.execution.disk_room import disk_error
    from batchforge.terminal.terminal import let_go_of_closed_terminal

    if let_go_of_closed_terminal():
        return EXIT_INTERRUPTED
    if exc.errno == errno.ENOMEM:
        return _no_memory(args)
    error = disk_error(exc)
    if error is None:
        return _our_bug(exc, is_debug)
    with suppress(OSError):
        # Where the disk is full that our output goes to, nothing can be said.
        _log(error) if _logs_json(args) else _show(error)
    return error.exit_code


def _no_memory(args: list[str]) -> int:
    error = BatchForgeError(
        "BF511",
        "there is not enough memory",
        hint="Nothing that was paid is lost. Run again with more memory, or with fewer `--threads`.",
    )
    _log(error) if _logs_json(args) else _show(error)
    return error.exit_code


def _our_bug(exc: Exception, is_debug: bool) -> int:
    if is_debug:
        traceback.print_exc()
    click.echo(f"BatchForge has a bug: {type(exc).__name__}: {exc}", err=True)
    click.echo("Please report it with the output of the same command with --debug before the command's name.", err=True)
    return EXIT_OUR_BUG


def _hang_up(number: int, frame: FrameType | None) -> None:
    from batchforge.terminal.terminal import let_go_of_closed_terminal

    let_go_of_closed_terminal()
    raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
