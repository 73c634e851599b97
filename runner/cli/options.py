"""The arguments and options that several commands share, and how a command ends."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer


class Format(StrEnum):
    """How diagnostics are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class Drawing(StrEnum):
    """How the wiring is drawn."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


class Shown(StrEnum):
    """How what a run tells is written."""

    TEXT = "text"
    JSON = "json"


class Log(StrEnum):
    """From which level up notices reach standard error; the run's log has them all."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


File = Annotated[Path, typer.Argument(help="the strategy file", show_default=False)]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="a parameter: --set clip=800USDT (repeatable)")
]
Params = Annotated[Path | None, typer.Option("--params", help="a YAML file of parameters")]
State = Annotated[Path | None, typer.Option("--state", help="where runs and journals are kept")]
Json = Annotated[bool, typer.Option("--json", help="the result as JSON on standard output")]
For = Annotated[str | None, typer.Option("--for", help="stop by itself after this long: 30s, 5m")]
Seed = Annotated[int | None, typer.Option(help="seed of the simulator and of paper latency")]
Loud = Annotated[Log, typer.Option("--log", help="notices from this level up, on standard error")]
Name = Annotated[str | None, typer.Argument(help="the strategy; may be left out when one runs")]
Custom = Annotated[
    bool, typer.Option(help="let `network: custom` leave this machine (only with your own proxy)")
]
Notify = Annotated[
    bool | None,
    typer.Option(help="tell people as `notify:` says (default: `start` on a real network does)"),
]
NoRecord = Annotated[bool, typer.Option("--no-record", help="keep no recording of the run")]


def leave(code: int) -> NoReturn:
    """End the program with an exit code."""
    raise typer.Exit(code)
