"""Where messages go: a Telegram chat, a webhook, a program. One attempt each; errors are `Down`.

Secrets stand in URLs here (Telegram's token, a Slack hook): every text of an error is redacted, and
redirects are not followed. A program gets the message on standard input, no shell, and of the
environment only what a mailer needs: never a key of an exchange.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from runner.app.notify.letter import Letter
from runner.base.errors import Down, RateLimited
from runner.base.secret import Secret, redact
from runner.exchanges.api import HttpRequest
from runner.net.doors import retry_after
from runner.net.http import Http

TIMEOUT_S: Final = 10.0
_HANDED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "USER", "TZ")


class Sink(Protocol):
    """Something that takes a message."""

    name: str

    async def send(self, letter: Letter) -> None:
        """Deliver a message. Down (or RateLimited) when it was not taken."""
        ...


class Telegram:
    """A bot's chat, by `sendMessage` of the Bot API; plain text, so that nothing is markup."""

    name = "telegram"

    def __init__(self, http: Http, base_url: str, token: Secret, chat: str) -> None:
        self._http = http
        self._base = base_url
        self._token = token
        self._chat = chat

    async def send(self, letter: Letter) -> None:
        url = f"{self._base}/bot{self._token.reveal()}/sendMessage"
        body = {"chat_id": self._chat, "text": letter.body, "disable_web_page_preview": True}
        await _post(self._http, self.name, url, body, {})


class Webhook:
    """A URL that takes JSON: all fields, or the one that Slack or Discord read."""

    name = "webhook"

    def __init__(self, http: Http, url: str, format: str, token: Secret | None, run: str) -> None:
        self._http = http
        self._url = url
        self._format = format
        self._token = token
        self._run = run

    async def send(self, letter: Letter) -> None:
        match self._format:
            case "slack":
                body = {"text": letter.body}
            case "discord":
                body = {"content": letter.body[:2000]}
            case _:
                body = {
                    "topic": letter.topic,
                    "subject": letter.subject,
                    "text": letter.body,
                    "run": self._run,
                }
        headers = {"Authorization": f"Bearer {self._token.reveal()}"} if self._token else {}
        await _post(self._http, self.name, self._url, body, headers)


class Program:
    """A program of the user's, by its argument list."""

    name = "command"

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)

    async def send(self, letter: Letter) -> None:
        environment = {key: os.environ[key] for key in _HANDED_ON if key in os.environ}
        environment |= {"RUNNER_SUBJECT": letter.subject, "RUNNER_TOPIC": letter.topic}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise Down(f"{self.name}: {self._argv[0]}: {error.strerror}") from error
        try:
            async with asyncio.timeout(TIMEOUT_S):
                _, said = await process.communicate(letter.body.encode())
        except TimeoutError as error:
            raise Down(f"{self.name}: {self._argv[0]} took more than {TIMEOUT_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            why = redact(said.decode(errors="replace").strip()[:200])
            raise Down(f"{self.name}: {self._argv[0]} ended with {process.returncode}: {why}")


async def call(http: Http, name: str, url: str) -> None:
    """Ask a URL and expect any good answer; Down otherwise."""
    answer = await http.read(HttpRequest("GET", url, label=name), TIMEOUT_S)
    if answer.status >= 300:
        raise Down(f"{name}: HTTP {answer.status}")


async def _post(
    http: Http, name: str, url: str, body: Mapping[str, object], headers: Mapping[str, str]
) -> None:
    request = HttpRequest(
        "POST",
        url,
        headers={"Content-Type": "application/json", **headers},
        body=msgspec.json.encode(body),
        label=name,
    )
    answer = await http.read(request, TIMEOUT_S)
    if answer.status == 429:
        raise RateLimited(f"{name}: HTTP 429", retry_after(answer.headers))
    if answer.status >= 300:
        why = redact(answer.body[:200].decode(errors="replace"))
        raise Down(f"{name}: HTTP {answer.status} {why}".rstrip())
