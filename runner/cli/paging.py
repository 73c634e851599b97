"""`runner page`: prove that a page reaches its people, before it has to."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from runner import spec
from runner.app import credentials
from runner.app.notify.letter import Letter
from runner.app.notify.office import Office, references
from runner.base.errors import ExchangeError, FileError
from runner.cli.check import print_findings


def page(file: Path, text: str) -> int:
    """Send one message to every sink of `notify.page`; 0 when all took it, else 3."""
    checked = spec.load(file)
    print_findings(checked)
    plan = checked.plan
    if plan is None:
        return 1
    if plan.notify.page is None:
        raise FileError(f"{file}: there is no `notify.page`, nobody to tell")
    secrets = credentials.reveal(
        references(plan.notify), credentials.of_environment(), lambda t: _say(f"warning: {t}")
    )
    subject = f"{plan.name}: test"
    letter = Letter("test", subject, f"{subject}\nWHAT  {text}")
    return asyncio.run(_send(Office(plan.notify, secrets), letter))


async def _send(office: Office, letter: Letter) -> int:
    assert office.plan.page is not None
    failed = 0
    try:
        for sink in office.sinks(office.plan.page, "test"):
            try:
                await sink.send(letter)
            except ExchangeError as error:
                failed += 1
                _say(f"error: {error}")
            else:
                sys.stdout.write(f"{sink.name}: sent\n")
    finally:
        await office.http.close()
    return 3 if failed else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
