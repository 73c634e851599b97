"""A language model's stand-in: answers `/v1/chat/completions` by counting words. For trying out.

    python examples/llm_stand_in.py --port 8790
    python examples/llm_stand_in.py --port 8790 --say '{"score": -0.9, "confidence": 1}'

It speaks the part of the OpenAI-compatible interface that a source of type `llm` uses: it reads the
schema of the answer, gives numbers by the mood of the words in the question, and counts tokens.
`GET /v1/news` serves a few headlines, for a `rest` source; `POST /v1/news` replaces them.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from aiohttp import web

GLAD = {"rally", "surge", "record", "approval", "inflows", "upgrade", "gains", "adoption"}
SAD = {"hack", "ban", "crash", "lawsuit", "outflows", "exploit", "losses", "default", "halt"}
NEWS = [
    {"id": "n1", "title": "Ether funds see record inflows for a third week"},
    {"id": "n2", "title": "Network upgrade goes live without a hitch"},
]


def mood_of(text: str) -> float:
    """Return the mood of a text, -1 to 1, by its words."""
    words = re.findall(r"[a-z]+", text.lower())
    glad, sad = sum(w in GLAD for w in words), sum(w in SAD for w in words)
    return 0.0 if glad == sad else (glad - sad) / (glad + sad)


def answer_to(question: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Fill each property of a schema by the mood of the question."""
    mood = mood_of(question)
    filled: dict[str, Any] = {}
    for name, shape in schema.get("properties", {}).items():
        kinds = shape.get("type", "string")
        kind = kinds[0] if isinstance(kinds, list) else kinds
        if "enum" in shape:
            filled[name] = word_for(mood, shape["enum"])
        elif kind == "number":
            filled[name] = number_for(name, mood, shape)
        elif kind == "boolean":
            filled[name] = mood > 0
        else:
            filled[name] = f"the words read {mood:+.1f}"
    return filled


def word_for(mood: float, words: list[str]) -> str:
    """Pick the word that fits a mood; the middle one when nothing speaks for either side."""
    for word, wanted in (("bullish", 1), ("long", 1), ("bearish", -1), ("short", -1)):
        if word in words and mood * wanted > 0.2:
            return word
    return next((w for w in ("neutral", "medium") if w in words), words[0])


def number_for(name: str, mood: float, shape: dict[str, Any]) -> float:
    """Return a number within the schema's bounds."""
    low, high = shape.get("minimum", -1.0), shape.get("maximum", 1.0)
    wanted = 0.8 if name == "confidence" and mood else mood
    return min(max(wanted, low), high)


class StandIn:
    """The server's state: what it must say instead, and its headlines."""

    def __init__(self, say: str = "") -> None:
        self.say = say
        self.news = list(NEWS)
        self.asked = 0

    async def complete(self, request: web.Request) -> web.Response:
        """Answer a question."""
        self.asked += 1
        body = await request.json()
        shape = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
        question = body["messages"][-1]["content"]
        content = self.say or json.dumps(answer_to(question, shape))
        usage = {"prompt_tokens": len(question) // 4, "completion_tokens": len(content) // 4}
        message = {"role": "assistant", "content": content}
        return web.json_response({"choices": [{"index": 0, "message": message}], "usage": usage})

    async def headlines(self, request: web.Request) -> web.Response:
        """Serve the headlines."""
        return web.json_response(self.news)

    async def replace(self, request: web.Request) -> web.Response:
        """Take other headlines: a JSON list of {"id", "title"}."""
        self.news = await request.json()
        return web.json_response({"ok": True})


def application(stand_in: StandIn) -> web.Application:
    """Return the server."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", stand_in.complete)
    app.router.add_get("/v1/news", stand_in.headlines)
    app.router.add_post("/v1/news", stand_in.replace)
    return app


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A language model's stand-in.")
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--say", default="", help="always answer this")
    options = parser.parse_args()
    try:
        web.run_app(application(StandIn(options.say)), host="127.0.0.1", port=options.port)
    except OSError as error:
        parser.error(f"port {options.port}: {error.strerror}; --port takes another")


if __name__ == "__main__":
    main()
