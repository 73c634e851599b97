"""Secrets, resolved from their references by `start` and by nothing else.

A dry-run never calls this module. All that is missing is said in one message, so that a user
fixes a deployment once. A secret file that others may write is refused (whoever can write it
decides whose account trades); one that others may read is warned about, except below
/run/secrets, where the mode is the platform's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from runner.base.errors import WorldError
from runner.base.ids import fingerprint
from runner.base.secret import Secret
from runner.exchanges.api import Credentials
from runner.spec.market_plan import ExchangePlan
from runner.spec.parts import SecretRef

_NEEDED = ("key", "secret")


def resolve(
    exchanges: Mapping[str, ExchangePlan],
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> dict[str, Credentials]:
    """Return the credentials of every exchange by name.

    Raises WorldError (exit code 3) naming every secret that is absent, empty or unsafe.
    """
    problems: list[str] = []
    found: dict[str, Credentials] = {}
    for name, plan in exchanges.items():
        parts: dict[str, Secret] = {}
        for part in (*_NEEDED, *(p for p in plan.auth if p not in _NEEDED)):
            place = f"exchanges.{name}.auth.{part}"
            reference = plan.auth.get(part)
            if reference is None:
                problems.append(f"{place} is not written in the file")
                continue
            secret = _read(reference, place, environment, problems, warn)
            if secret is not None:
                parts[part] = secret
        if all(part in parts for part in _NEEDED):
            found[name] = Credentials(
                key=parts["key"],
                secret=parts["secret"],
                passphrase=parts.get("passphrase"),
                fingerprint=fingerprint(parts["key"].reveal()),
            )
    if problems:
        help_ = "\nwith `--sim` signed orders go to the built-in simulator, which needs none"
        raise WorldError("secrets are missing:\n  " + "\n  ".join(problems) + help_)
    return found


def reveal(
    references: Mapping[str, SecretRef],
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> dict[str, Secret]:
    """Return secrets by the place of the file that refers to them.

    Raises WorldError (exit code 3) naming every one that is absent, empty or unsafe.
    """
    problems: list[str] = []
    found: dict[str, Secret] = {}
    for place, reference in references.items():
        secret = _read(reference, place, environment, problems, warn)
        if secret is not None:
            found[place] = secret
    if problems:
        raise WorldError("secrets are missing:\n  " + "\n  ".join(problems))
    return found


def _read(
    reference: SecretRef,
    place: str,
    environment: Mapping[str, str],
    problems: list[str],
    warn: Callable[[str], None],
) -> Secret | None:
    if reference.env:
        text = environment.get(reference.env, "").strip()
        if not text:
            problems.append(f"{place}: the environment variable {reference.env} is not set")
            return None
        return Secret(text)
    return _read_file(Path(reference.file), place, problems, warn)


def _read_file(
    path: Path, place: str, problems: list[str], warn: Callable[[str], None]
) -> Secret | None:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        problems.append(f"{place}: {path} cannot be read ({reason})")
        return None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        problems.append(f"{place}: others may write {path}; `chmod 600 {path}`")
        return None
    if mode & (stat.S_IRGRP | stat.S_IROTH) and not path.is_relative_to("/run/secrets"):
        warn(f"{place}: others may read {path}; `chmod 600 {path}`")
    if not text:
        problems.append(f"{place}: {path} is empty")
        return None
    return Secret(text)


def of_environment() -> Mapping[str, str]:
    """Return the process's environment."""
    return os.environ
