"""Telegram's stand-in: the two calls of the Bot API that runner uses. For trying out.

    python examples/telegram_stand_in.py --port 8791
    curl -d '{"chat": -100123, "from": 42, "text": "LONG BTCUSDT stop 59400"}' localhost:8791/post

A source of type `telegram` with `base_url: http://127.0.0.1:8791` reads what is posted; what
`notify.page.telegram` sends is printed. Any token will do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

from aiohttp import web


class StandIn:
    """Updates by number, and what was sent."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.sent: list[dict[str, Any]] = []
        self._came = asyncio.Event()

    def post(self, chat: int, sender: int, text: str, **more: Any) -> None:
        """Let a message arrive."""
        number = len(self.updates) + 1
        message = {
            "message_id": number,
            "date": int(time.time()),
            "chat": {"id": chat, "type": "group"},
            "from": {"id": sender, "is_bot": False},
            "text": text,
        } | more
        self.updates.append({"update_id": number, "message": message})
        self._came.set()

    async def get_updates(self, request: web.Request) -> web.Response:
        """Answer with the updates from `offset` on, waiting up to `timeout` seconds for one."""
        asked = await request.json()
        after, wait = int(asked.get("offset", 0)), float(asked.get("timeout", 0))
        deadline = time.monotonic() + wait
        while True:
            found = [each for each in self.updates if each["update_id"] >= after]
            left = deadline - time.monotonic()
            if found or left <= 0:
                return web.json_response({"ok": True, "result": found})
            self._came.clear()
            try:
                async with asyncio.timeout(left):
                    await self._came.wait()
            except TimeoutError:
                continue

    async def send_message(self, request: web.Request) -> web.Response:
        """Take a message of the bot."""
        message = await request.json()
        self.sent.append(message)
        sys.stdout.write(f"to {message.get('chat_id')}: {message.get('text')}\n")
        sys.stdout.flush()
        return web.json_response({"ok": True, "result": {}})

    async def take(self, request: web.Request) -> web.Response:
        """Let a message arrive: {"chat", "from", "text"}."""
        try:
            body = json.loads(await request.text())
            self.post(int(body["chat"]), int(body.get("from", 1)), str(body["text"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            said = {
                "ok": False,
                "description": 'write {"chat": -5, "from": 42, "text": "..."}',
            }
            return web.json_response(said, status=400)
        return web.json_response({"ok": True})


def application(stand_in: StandIn) -> web.Application:
    """Return the server."""
    app = web.Application()
    app.router.add_post("/bot{token}/getUpdates", stand_in.get_updates)
    app.router.add_post("/bot{token}/sendMessage", stand_in.send_message)
    app.router.add_post("/post", stand_in.take)
    return app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Telegram's stand-in.")
    parser.add_argument("--port", type=int, default=8791)
    options = parser.parse_args()
    try:
        web.run_app(
            application(StandIn()),
            host="127.0.0.1",
            port=options.port,
            handler_cancellation=True,  # Ctrl-C does not wait for a reader that is gone
        )
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}; --port takes another")


if __name__ == "__main__":
    main()
