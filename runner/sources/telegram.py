"""Messages of a Telegram bot: long polling of `getUpdates`, an allow-list, a pattern.

Each poll waits at the server until something comes; an update is confirmed by asking for those
after it, so what came while the process was away is still told (for a day). Only new messages and
posts of allowed chats and senders count, and of those only what the pattern matches: its named
groups are the message's fields, beside `message_id`, `chat` and `sender`. Edits say nothing new.

The bot's token stands in the URL: errors are redacted, redirects are not followed. One bot is read
by one process alone; a second reader, or a webhook set at the bot, is 409 and is told.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from runner.base.secret import Secret, redact
from runner.net.backoff import Backoff
from runner.sources.api import Listener
from runner.sources.door import Flaw, Refused, parse
from runner.sources.feeds import Intake
from runner.spec.source_plan import SourcePlan, TelegramPlan

WAIT_S: Final = 25
LARGEST_ANSWER: Final = 1 << 20
LONGEST_TEXT: Final = 1_024
"""characters a pattern is tried on; longer messages are no signals"""
_KINDS: Final = ("message", "channel_post")
_SECOND: Final = 1_000_000_000


class Chat:
    """One Telegram source; `run` never returns."""

    def __init__(
        self,
        plan: SourcePlan,
        token: Secret,
        listener: Listener,
        backoff: Backoff,
        wait_s: int = WAIT_S,
    ) -> None:
        assert isinstance(plan.options, TelegramPlan)
        self._plan, self._options, self._listener = plan, plan.options, listener
        self._token = token
        self._backoff = backoff
        self._wait_s = wait_s
        self._pattern = re.compile(plan.options.pattern)
        self._intake = Intake(plan, listener)
        self._after = 0

    async def run(self) -> None:
        """Ask for updates, and again."""
        timeout = aiohttp.ClientTimeout(total=self._wait_s + 10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                began = asyncio.get_running_loop().time()
                try:
                    count = await self._once(session)
                    if count or asyncio.get_running_loop().time() - began > self._wait_s / 2:
                        self._backoff.reset()
                        continue  # a server that answers "nothing" at once is asked less often
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    reason = redact(f"{type(error).__name__}: {error}")[:200]
                    self._listener.pulse(self._plan.name, False, reason)
                except Refused as flaw:
                    self._listener.flawed(self._plan.name, flaw)
                await asyncio.sleep(self._backoff.next())

    async def _once(self, session: aiohttp.ClientSession) -> int:
        """Ask once; return how many updates came."""
        url = f"{self._options.base_url}/bot{self._token.reveal()}/getUpdates"
        asked = {
            "offset": self._after,
            "timeout": self._wait_s,
            "allowed_updates": list(_KINDS),
        }
        async with session.post(url, json=asked, allow_redirects=False) as answer:
            body = await answer.content.read(LARGEST_ANSWER + 1)
            if answer.status != 200:
                raise aiohttp.ClientError(f"status {answer.status}{_hint(answer.status)}")
        found = parse(body, LARGEST_ANSWER)
        updates = found.get("result") if isinstance(found, Mapping) else None
        if not isinstance(updates, list):
            raise Refused(Flaw.WRONG_TYPE, "the answer to getUpdates has no `result`")
        self._listener.pulse(self._plan.name, True)
        for update in updates:
            self._take(update)
        return len(updates)

    def _take(self, update: object) -> None:
        if not isinstance(update, Mapping):
            return
        number = update.get("update_id")
        if isinstance(number, int):
            self._after = max(self._after, number + 1)
        message = next((update[kind] for kind in _KINDS if kind in update), None)
        if isinstance(message, Mapping):
            self._message(message)

    def _message(self, message: Mapping[str, Any]) -> None:
        listener, name = self._listener, self._plan.name
        chat, sender = names_of(message.get("chat")), names_of(message.get("from"))
        if not chat & set(self._options.chats):
            listener.refused(name, "chat", f"chat {_shown(chat)} is not one of `chats`")
            return
        if self._options.senders and not sender & set(self._options.senders):
            listener.refused(name, "sender", f"{_shown(sender)} is not one of `senders`")
            return
        text = message.get("text") or message.get("caption")
        if not isinstance(text, str) or len(text) > LONGEST_TEXT:
            listener.refused(name, "pattern", "the message has no text, or too much of it")
            return
        match = self._pattern.search(text)
        if match is None:
            listener.refused(name, "pattern", "the message does not match `pattern`")
            return
        fields: dict[str, object] = {k: v for k, v in match.groupdict().items() if v is not None}
        number = message.get("message_id")
        fields |= {"message_id": number, "chat": _shown(chat), "sender": _shown(sender)}
        sent = message.get("date")
        sent_at = sent * _SECOND if isinstance(sent, int) and 0 < sent < 1 << 33 else 0
        self._intake.take([fields], sent_at=sent_at, otherwise=f"{_shown(chat)}:{number}")


def names_of(who: object) -> set[str]:
    """Return all names a chat or a sender goes by: its number, and @name."""
    if not isinstance(who, Mapping):
        return set()
    found = {str(who["id"])} if isinstance(who.get("id"), int) else set()
    name = who.get("username")
    return found | ({f"@{name}"} if isinstance(name, str) and name else set())


def _shown(names: set[str]) -> str:
    """Return the number, the name that does not change."""
    return min(names, key=lambda name: name.startswith("@"), default="nobody")[:40]


def _hint(status: int) -> str:
    match status:
        case 401 | 404:
            return ": the bot's token is not accepted"
        case 409:
            return ": another process reads this bot, or a webhook is set (deleteWebhook)"
    return ""
