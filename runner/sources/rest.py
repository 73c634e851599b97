"""Polls: an address asked regularly, JSON or RSS, with what was not modified left out.

A poll that brings an answer, also "not modified", is a sign of life; after an error the next one
comes later and later, up to ten times `every`. Where the source has no fields its items are kept
for a language model to be told of.
"""

from __future__ import annotations

import asyncio
from typing import Final
from xml.parsers import expat

import aiohttp

from runner.base.secret import Secret, redact
from runner.net.backoff import Backoff
from runner.sources.api import Listener
from runner.sources.door import Flaw, Refused, parse
from runner.sources.feeds import Intake, items_of
from runner.spec.source_plan import RestPlan, SourcePlan

LARGEST_ANSWER: Final = 1 << 20
MOST_ITEMS: Final = 500
_LATER: Final = 10.0


class Poll:
    """One REST source; `run` never returns."""

    def __init__(
        self, plan: SourcePlan, token: Secret | None, listener: Listener, backoff: Backoff
    ) -> None:
        assert isinstance(plan.options, RestPlan)
        self._plan, self._options, self._listener = plan, plan.options, listener
        self._token = token
        self._backoff = backoff
        self._intake = Intake(plan, listener)
        self._tag = ""
        self.pause = plan.options.every_ns / 1e9
        """seconds between two polls that went well"""

    async def run(self) -> None:
        """Ask, and ask again."""
        timeout = aiohttp.ClientTimeout(total=self._options.timeout_ns / 1e9)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=True) as session:
            while True:
                try:
                    await self._once(session)
                    pause = self.pause
                    self._backoff.reset()
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    reason = redact(f"{type(error).__name__}: {error}")[:200]
                    self._listener.pulse(self._plan.name, False, reason)
                    pause = min(self.pause + self._backoff.next(), self.pause * _LATER)
                except Refused as flaw:
                    self._listener.flawed(self._plan.name, flaw)
                    pause = self.pause
                await asyncio.sleep(pause)

    async def _once(self, session: aiohttp.ClientSession) -> None:
        # redirects are not followed: they would carry the token elsewhere
        async with session.get(
            self._options.url, headers=self._headers(), allow_redirects=False
        ) as answer:
            if answer.status == 304:
                self._listener.pulse(self._plan.name, True)
                return
            if answer.status != 200:
                raise aiohttp.ClientError(f"status {answer.status}")
            body = await _body(answer)
            tag = answer.headers.get("ETag", "")[:200]
        found = self._items(body)[:MOST_ITEMS]
        self._tag = tag  # of what could be read: the rest is asked for again, and refused again
        self._listener.pulse(self._plan.name, True)
        newest_last = found[::-1] if self._options.format == "rss" else found
        self._listener.items(self._plan.name, newest_last)
        if self._plan.fields:
            self._intake.take(found)

    def _headers(self) -> dict[str, str]:
        headers = {"If-None-Match": self._tag} if self._tag else {}
        auth = self._options.auth
        if auth is not None and self._token is not None:
            bearer = auth.header.lower() == "authorization"
            headers[auth.header] = ("Bearer " if bearer else "") + self._token.reveal()
        return headers

    def _items(self, body: bytes) -> list[object]:
        if self._options.format == "rss":
            return list(rss_items(body))
        return items_of(parse(body, LARGEST_ANSWER), self._options.items)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_any():
        found += chunk
        if len(found) > LARGEST_ANSWER:
            raise Refused(Flaw.TOO_LARGE, f"more than {LARGEST_ANSWER} bytes")
    return bytes(found)


def rss_items(body: bytes) -> list[dict[str, str]]:
    """Return the items of an RSS or Atom feed: title, link, guid, published, summary.

    Entities beyond those of XML itself are refused: they could be a bomb. Raises Refused.
    """
    names = {
        "title": "title", "link": "link", "guid": "guid", "id": "guid", "pubDate": "published",
        "published": "published", "updated": "published", "description": "summary",
        "summary": "summary",
    }  # fmt: skip
    items: list[dict[str, str]] = []
    path: list[str] = []
    parser = expat.ParserCreate(namespace_separator=" ")

    def start(tag: str, _: dict[str, str]) -> None:
        path.append(tag.rsplit(" ", 1)[-1])
        if path[-1] in ("item", "entry"):
            items.append({})
        if len(path) > 50:
            raise Refused(Flaw.NOT_JSON, "the feed is nested too deep")

    def end(_: str) -> None:
        path.pop()

    def text(data: str) -> None:
        if len(path) > 1 and path[-2] in ("item", "entry") and path[-1] in names:
            key = names[path[-1]]
            items[-1][key] = (items[-1].get(key, "") + data)[:2000]

    def entity(*_: object) -> None:
        raise Refused(Flaw.NOT_JSON, "the feed declares entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise Refused(Flaw.NOT_JSON, f"the feed is no XML: {error}") from None
    return [{k: v.strip() for k, v in item.items()} for item in items]
