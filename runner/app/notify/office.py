"""From `notify:` and its secrets to a messenger and the tasks that a run keeps for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.app.notify.board import Board
from runner.app.notify.mailbox import Mailbox
from runner.app.notify.messenger import Messenger
from runner.app.notify.sinks import Program, Sink, Telegram, Webhook
from runner.base.clock import Clock
from runner.base.rng import seeded
from runner.base.secret import Secret
from runner.engine.core import Engine
from runner.net.doors import tls_context
from runner.net.http import HttpSession
from runner.spec.notify_plan import Address, NotifyPlan, PagePlan
from runner.spec.parts import SecretRef

TOKEN, HOOK_URL, HOOK_TOKEN, ALIVE_URL = (
    "notify.page.telegram.token",
    "notify.page.webhook.url",
    "notify.page.webhook.token",
    "notify.alive.url",
)
LAST_WORDS_S = 5.0


def references(plan: NotifyPlan) -> dict[str, SecretRef]:
    """Return the secrets that telling people needs, by their place in the file."""
    page = plan.page or PagePlan()
    hook = page.webhook
    found = {
        TOKEN: page.telegram.token if page.telegram is not None else None,
        HOOK_URL: hook.address.secret if hook is not None else None,
        HOOK_TOKEN: hook.token if hook is not None else None,
        ALIVE_URL: plan.alive.address.secret if plan.alive is not None else None,
    }
    return {place: ref for place, ref in found.items() if ref is not None}


@dataclass(slots=True)
class Office:
    """Tells people for one run; made before the engine exists, opened once it does."""

    plan: NotifyPlan
    secrets: Mapping[str, Secret]
    http: HttpSession = field(default_factory=lambda: HttpSession(tls_context()))
    messenger: Messenger | None = None

    def open(
        self, engine: Engine, run_id: str, clock: Clock, notice: Callable[[str], None]
    ) -> Messenger | None:
        """Return the messenger, an observer of the run; None where nobody is to be paged."""
        page = self.plan.page
        if page is not None:
            rng = seeded("notify", run_id)
            boxes = [Mailbox(sink, rng, notice) for sink in self.sinks(page, run_id)]
            self.messenger = Messenger(engine, run_id, Board(page.topics), boxes, clock)
        return self.messenger

    def sinks(self, page: PagePlan, run_id: str) -> list[Sink]:
        """Return everything that `page` names."""
        sinks: list[Sink] = []
        if page.telegram is not None:
            chat = page.telegram
            sinks.append(Telegram(self.http, chat.base_url, self.secrets[TOKEN], chat.chat))
        if page.webhook is not None:
            url = self._url(page.webhook.address, HOOK_URL)
            token = self.secrets.get(HOOK_TOKEN)
            sinks.append(Webhook(self.http, url, page.webhook.format, token, run_id))
        if page.command:
            sinks.append(Program(page.command))
        return sinks

    def tasks(
        self,
        engine: Engine,
        run_id: str,
        progress: Callable[[], int],
        notice: Callable[[str], None],
    ) -> list[Coroutine[Any, Any, None]]:
        """Return the tasks to run beside the trading."""
        from runner.app.notify.pulse import keep_alive, send_daily

        work: list[Coroutine[Any, Any, None]] = []
        if self.messenger is not None:
            work.append(self.messenger.run())
            if self.plan.daily is not None:
                work.append(send_daily(self.plan.daily, engine, run_id, self.messenger))
        if self.plan.alive is not None:
            url = self._url(self.plan.alive.address, ALIVE_URL)
            work.append(keep_alive(self.http, url, self.plan.alive.every_ns, progress, notice))
        return work

    async def close(self, notice: Callable[[str], None]) -> None:
        """Send what waits, then close the connections."""
        if self.messenger is not None:
            await self.messenger.last_words(LAST_WORDS_S, notice)
        await self.http.close()

    def _url(self, address: Address, place: str) -> str:
        return address.url or self.secrets[place].reveal()
