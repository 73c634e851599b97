"""The command line: the commands in order, exit codes. Each imports its floors when it runs.

Exit codes: 0 fine, 1 the file or the result is wrong, 2 the command line is wrong, 3 the
environment is wrong, 4 halted by risk, 5 unclean stop, 70 our bug (with a report path),
130 second Ctrl-C, 141 whoever read the output left before its end (as after SIGPIPE, so that no
verdict that was cut off looks like a good one).
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Final

import typer

from runner.cli.adopting import Start
from runner.cli.file_commands import (
    explain,
    graph,
    init,
    learn,
    page,
    plan,
    render_template,
    schema,
    test,
    validate,
)
from runner.cli.live_commands import ack, flatten, halt, resume, status, tap, top, why
from runner.cli.run_commands import bench, dry_run, import_, record, replay, sim, start

_FIRST_OWN: Final = 3
_UNREAD: Final = 141
_RUNS: Final = (["start"], ["dry-run"])
_FULL: Final = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EIO))
"""errors of a disk or a terminal, not of ours"""

app = typer.Typer(
    name="runner",
    help="Trading strategies that are written down, not programmed.\n\n"
    "To begin: runner init; runner dry-run strategies/arb.yaml --sim --for 20s; runner why",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(init)
app.command()(validate)
app.command()(learn)
app.command()(plan)
app.command()(graph)
app.command(context_settings={"ignore_unknown_options": True})(explain)  # of -2019, say
app.command("render")(render_template)
app.command()(schema)
app.command()(test)
app.command("dry-run")(dry_run)
app.command(cls=Start)(start)
app.command()(record)
app.command("import")(import_)
app.command()(replay)
app.command()(sim)
app.command()(status)
app.command()(why)
app.command()(tap)
app.command()(top)
app.command()(halt)
app.command()(resume)
app.command()(flatten)
app.command()(ack)
app.command()(page)
app.command()(bench)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    if version:
        from runner import __version__

        typer.echo(f"runner {__version__}")
        raise typer.Exit


def _open_streams() -> None:
    """Give the program its three standard streams, where whoever started it closed some.

    Else the next file that is opened gets such a number, and what a library prints there.
    """
    free = os.open(os.devnull, os.O_RDWR)
    while free < _FIRST_OWN:
        free = os.open(os.devnull, os.O_RDWR)
    os.close(free)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def _drop_output() -> None:
    """Let what standard output still holds go nowhere: at the end it would fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _origin(error: BaseException) -> BaseException:
    """Return the error that others were made of; one raised `from None` is its own origin."""
    while True:
        behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if behind is None:
            return error
        error = behind


def main() -> None:
    """Run the program; every expected error becomes one message and its exit code."""
    from runner.base.errors import FileError, RunnerError, UsageError
    from runner.base.secret import redact

    _open_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # a failure has its message here, not at the interpreter's end
    except RunnerError as error:
        typer.echo(f"error: {redact(str(error))}", err=True)
        code = 1 if isinstance(error, FileError) else 2 if isinstance(error, UsageError) else 3
        sys.exit(code)
    except BrokenPipeError:
        _drop_output()
        sys.exit(_UNREAD)
    except SystemExit as left:
        origin = _origin(left)  # typer makes exits of these two
        if isinstance(origin, BrokenPipeError):
            _drop_output()
            sys.exit(_UNREAD)
        if isinstance(origin, KeyboardInterrupt) and sys.argv[1:2] in _RUNS:
            # once it has begun, signals come to its loop; when it was about to, it has told
            typer.echo("interrupted before it began: nothing was sent", err=True)
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            typer.echo(f"error: {error.strerror}: what was to be written is not whole", err=True)
            _drop_output()
            sys.exit(3)
        from runner.cli.crash_report import write_report

        typer.echo(
            f"error: this is a bug in runner; the report is in {write_report(error)}", err=True
        )
        sys.exit(70)
