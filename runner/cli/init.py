"""The command `init`: a strategy that validates, with its tests, its secrets' names, its schema."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from runner import spec
from runner.base.errors import UsageError, WorldError
from runner.spec import schema
from runner.spec.suggest import nearest

MODELINE: Final = f"# yaml-language-server: $schema=../schemas/{schema.NAME}\n"
_NAME: Final = re.compile(r"^name: .*$", re.MULTILINE)
_ENV: Final = re.compile(r"\benv: ?([A-Za-z_][A-Za-z0-9_]*)")
_FILE: Final = re.compile(r"\bfile: ?(/[^\s,}]+)")
_SCRIPT: Final = re.compile(r"\bexamples/(\w+\.py)\b")
_LANGUAGE_SERVER: Final = re.compile(r"\A# yaml-language-server:.*\n")
_FREE: Final = re.compile(r"^[a-z][a-z0-9-]*$")


def templates() -> dict[str, Path]:
    """Return the strategies that ship, by name."""
    return {path.stem: path for path in sorted(_shipped("strategies").glob("*.yaml"))}


def _shipped(name: str) -> Path:
    """Return a folder that ships: a checkout's, or that of the package."""
    package = Path(schema.__file__).resolve().parents[1]
    for folder in (package / name, package.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the {name} are missing: the installation is damaged")


def init(folder: Path, template: str, name: str | None) -> int:
    """Write a strategy from a template, and what belongs to it; nothing that exists is replaced.

    A folder may hold several strategies: what `.env.example` lacks is added to it.
    """
    known = templates()
    if template not in known:
        meant = nearest(template, known)
        more = f"; did you mean `{meant}`?" if meant else ""
        raise UsageError(f"no template `{template}`{more} (there are {', '.join(known)})")
    if name is not None and not _FREE.match(name):
        raise UsageError(f"--name {name}: lower-case letters, digits and -, a letter first")
    shipped = known[template].read_text(encoding="utf-8")
    text = _strategy(shipped, name).replace(f"/{template}.yaml", f"/{name or template}.yaml")
    target = folder / "strategies" / f"{name or template}.yaml"
    _write(
        {
            target: text,
            folder / ".env.example": _environment(text),
            folder / "schemas" / schema.NAME: schema.file().read_text(encoding="utf-8"),
            **_other_ends(folder, text),
        },
        target,
    )
    checked = spec.load(target)
    assert checked.plan is not None, "templates validate"
    sys.stdout.write(
        f"next: runner validate {target}; runner test {target}; runner dry-run {target} --sim\n"
    )
    return 0


def _strategy(text: str, name: str | None) -> str:
    body = _LANGUAGE_SERVER.sub("", text)
    if name is not None:
        body = _NAME.sub(f"name: {name}", body, count=1)
    return MODELINE + body


def _other_ends(folder: Path, text: str) -> dict[Path, str]:
    """Return the senders and stand-ins that the strategy's head tells to start."""
    names = dict.fromkeys(_SCRIPT.findall(text))
    place = _shipped("examples") if names else folder
    return {folder / "examples" / n: (place / n).read_text(encoding="utf-8") for n in names}


def _environment(text: str) -> str:
    """Name every variable and file that the strategy takes a secret from, without a value."""
    names, files = dict.fromkeys(_ENV.findall(text)), dict.fromkeys(_FILE.findall(text))
    head = (
        "# Copy to .env, fill in, keep out of git.\n"
        "# Before `runner start`: set -a; . ./.env; set +a\n"
    )
    told = "".join(f"# Read from a file, mode 0600: {path}\n" for path in files)
    return head + "".join(f"{name}=\n" for name in names) + told


def _write(files: dict[Path, str], target: Path) -> None:
    """Write all files; none when the strategy exists with another content."""
    if target.exists() and target.read_text(encoding="utf-8") != files[target]:
        raise UsageError(f"{target} exists; nothing was written")
    for path, text in files.items():
        try:
            old = path.read_text(encoding="utf-8") if path.exists() else ""
            new = _added(old, text) if path.name == ".env.example" else old or text
            if new == old:
                sys.stdout.write(f"kept {path}\n")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(new, encoding="utf-8")
        except OSError as error:
            raise WorldError(f"{path}: {error.strerror or error}") from None
        sys.stdout.write(f"{'added to' if old else 'wrote'} {path}\n")


def _added(old: str, text: str) -> str:
    """Return a file with the lines that it lacks; whole when there is none."""
    known = set(old.splitlines())
    more = "".join(f"{line}\n" for line in text.splitlines() if line not in known)
    return old + ("\n" if old and not old.endswith("\n") else "") + more
