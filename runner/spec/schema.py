"""The schema of strategy files: found, read, walked by path.

`schemas/strategy.schema.json` is the one definition of the shape. It stands at the top of a
checkout and, in an installed package, as `runner/schemas/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

NAME = "strategy.schema.json"


def file() -> Path:
    """Return where the schema stands."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "schemas", package.parent / "schemas"):
        if (folder / NAME).is_file():
            return folder / NAME
    raise FileNotFoundError(f"{NAME} is missing: the installation is damaged")


@lru_cache(maxsize=1)
def root() -> Schema:
    """Return the whole schema."""
    content: Schema = json.loads(file().read_text(encoding="utf-8"))
    return content


def resolved(schema: Schema) -> Schema:
    """Return a schema with its reference replaced by the definition; its own words win."""
    target = schema.get("$ref")
    own = schema
    if target is None and "allOf" in schema:
        target = schema["allOf"][0]["$ref"]
        own = {k: v for k, v in schema.items() if k != "allOf"}
    if target is None:
        return schema
    name = str(target).rsplit("/", 1)[1]
    definition: Schema = root()["definitions"][name]
    return {**definition, **{k: v for k, v in own.items() if k != "$ref"}}


def paths(schema: Schema | None = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Schema]]:
    """Yield every key's dotted path with its schema; `*` stands for a name of the user's."""
    node = resolved(root() if schema is None else schema)
    for branch in node.get("anyOf", ()):
        yield from paths(branch, path)
    for name, child in node.get("properties", {}).items():
        yield ".".join((*path, name)), resolved(child)
        yield from paths(child, (*path, name))
    extra = node.get("additionalProperties")
    if isinstance(extra, dict):
        yield ".".join((*path, "*")), resolved(extra)
        yield from paths(extra, (*path, "*"))
    if isinstance(node.get("items"), dict):
        yield from paths(node["items"], path)


def find(topic: str) -> list[tuple[str, Schema]]:
    """Return the keys a topic may mean: its words in order, the last one the key itself."""
    words = topic.split(".")
    found = [(path, s) for path, s in paths() if _matches(words, path.split("."))]
    exact = [(path, s) for path, s in found if path == topic]
    return exact or _shallowest(found)


def _shallowest(found: list[tuple[str, Schema]]) -> list[tuple[str, Schema]]:
    unique: dict[int, tuple[str, Schema]] = {}
    for path, schema in sorted(found, key=lambda f: f[0].count(".")):
        unique.setdefault(hash(json.dumps(schema, sort_keys=True)), (path, schema))
    return list(unique.values())


def _matches(words: list[str], path: list[str]) -> bool:
    if not words or path[-1] != words[-1]:
        return False
    rest = iter(path[:-1])
    return all(any(word in (part, "*") or part == "*" for part in rest) for word in words[:-1])
