"""The board of open pages: what is grouped, when it is sent again, when it is over.

Theory of operation. One page per topic. A topic that is not open opens with the first text and is
sent `GATHER` later, so that the many texts of one cause make one message. What is added to an open
page is sent too, but at most once in `QUIET`. What nobody acknowledges is repeated 5, 15 and 60
minutes after it was opened, then every hour. `acknowledge` closes pages; the same cause told again
later opens a new one. Nothing here reads a clock or sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from runner.base.clock import NS_PER_MS, NS_PER_S
from runner.engine.commands import Topic

GATHER: Final = 200 * NS_PER_MS
QUIET: Final = 60 * NS_PER_S
_MINUTE: Final = 60 * NS_PER_S
REPEATS: Final = (5 * _MINUTE, 15 * _MINUTE, 60 * _MINUTE)
FAR: Final = 1 << 62
KEPT: Final = 5
"""texts of one page that are shown; the others are counted"""
_PASSING: Final = frozenset({Topic.NOTE})
"""topics that are told and need nobody: sent once, never repeated"""


@dataclass(slots=True)
class Page:
    """One open page. Times in ns of the run's own clock."""

    topic: Topic
    opened: int
    due: int
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    count: int = 0
    sent: int = 0
    """how often it was sent"""
    sent_at: int = -1

    @property
    def more(self) -> int:
        """How many texts are not shown."""
        return self.count - len(self.texts)


class Board:
    """All open pages of a run."""

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self._wanted = frozenset(Topic(name) for name in topics) or frozenset(Topic)
        self._pages: dict[Topic, Page] = {}

    @property
    def pages(self) -> list[Page]:
        """The open pages, the oldest first."""
        return list(self._pages.values())

    @property
    def due(self) -> int:
        """When something must be sent next."""
        return min((page.due for page in self._pages.values()), default=FAR)

    def post(self, topic: Topic, text: str, now: int) -> bool:
        """Open a page or add to one; False when the topic is not worth a page."""
        if topic not in self._wanted:
            return False
        page = self._pages.get(topic)
        if page is None:
            page = self._pages[topic] = Page(topic, now, now + GATHER)
        elif page.sent_at >= 0 and text not in page.texts:
            page.due = min(page.due, max(now + GATHER, page.sent_at + QUIET))
        page.count += 1
        if text not in page.texts:
            page.texts.append(text)
        return True

    def take(self, now: int) -> list[Page]:
        """Return the pages to be sent now; each is then due for its next repeat."""
        ready = [page for page in self._pages.values() if page.due <= now]
        for page in ready:
            page.sent += 1
            page.sent_at = now
            page.due = _next(page, now)
            if page.topic in _PASSING:
                del self._pages[page.topic]
        return ready

    def acknowledge(self, topic: str = "") -> list[Topic]:
        """Close one page, or all; return what was closed. ValueError for no such topic."""
        wanted = set(Topic) if not topic else {Topic(topic)}
        closed = [each for each in self._pages if each in wanted]
        for each in closed:
            del self._pages[each]
        return closed


def _next(page: Page, now: int) -> int:
    for delay in REPEATS:
        if page.opened + delay > now:
            return page.opened + delay
    return now + REPEATS[-1]
