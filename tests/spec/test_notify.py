"""`notify:` in a file: what is read, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.lang.render import as_text
from runner.spec import load

ARB = (Path(__file__).parents[2] / "strategies" / "arb.yaml").read_text(encoding="utf-8")


def test_everything_that_is_written_reaches_the_plan() -> None:
    plan = load(
        ARB
        + """
notify:
  page:
    telegram: {token: {env: TG}, chat: "-100123"}
    webhook: {url: {env: HOOK}, format: slack}
    command: [/usr/bin/mail, me@example.org]
    for: [halt, freeze]
  alive: {url: "https://beat.example.org/x", every: 30s}
  daily: {at: "08:05", zone: Europe/Berlin}
"""
    ).plan
    assert plan is not None
    page, alive, daily = plan.notify.page, plan.notify.alive, plan.notify.daily
    assert page is not None and alive is not None and daily is not None
    assert page.telegram is not None and page.telegram.base_url == "https://api.telegram.org"
    assert page.webhook is not None and page.webhook.address.secret is not None
    assert page.command == ("/usr/bin/mail", "me@example.org") and page.topics == ("halt", "freeze")
    assert (alive.address.url, alive.every_ns) == ("https://beat.example.org/x", 30 * 10**9)
    assert (daily.at, daily.zone) == ("08:05", "Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("page: {}", "E0203", "`page` names nobody"),
        ("daily: {at: '08:00'}", "E0203", "sent to those whom `page` names"),
        ("page: {command: [m], for: [helt]}", "E0203", "did you mean `halt`"),
        ("page: {webhook: {url: 'ftp://x/y'}}", "E0203", "not a URL that can be called"),
        ("page: {webhook: {url: 'https://a:b@x/y'}}", "E0203", "no user name and no password"),
        ("page: {webhook: {url: 'https://x/y', token: plain}}", "E0205", "a secret must be"),
        ("page: {telegram: {token: {env: T}, chat: me}}", "E0203", "`chat` cannot be `me`"),
        ("alive: {url: 'https://x/y', every: 1s}", "E0203", "more often than every 10s"),
        ("page: {command: [m]}\n  daily: {at: '25:00'}", "E0203", "`at` cannot be"),
        ("page: {command: [m]}\n  daily: {at: '08:00', zone: Mars/X}", "E0203", "no time zone"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, code: str, says: str) -> None:
    checked = load(f"{ARB}\nnotify:\n  {text}\n")
    assert {d.code for d in checked.findings} == {code}
    assert says in as_text(checked)


def test_a_list_of_pages_is_one_mistake() -> None:
    (only,) = load(f"{ARB}\nnotify:\n  page:\n    - {{command: [m]}}\n").findings
    assert only.code == "E0203" and only.message == "`page` must be a mapping"


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T000/B000/canarycanary",
        "https://discord.com/api/webhooks/1/canarycanary",
        "https://hc-ping.com/canarycanary",
    ],
)
def test_a_url_that_is_a_secret_is_refused_and_not_shown(url: str) -> None:
    checked = load(f"{ARB}\nnotify:\n  page: {{webhook: {{url: '{url}'}}}}\n")
    assert {d.code for d in checked.findings} == {"E0205"}
    assert "canary" not in as_text(checked)


def test_the_number_of_a_chat_needs_no_quotes_as_in_a_source() -> None:
    text = "notify:\n  page: {telegram: {token: {env: T}, chat: -100123}}\n"
    plan = load(f"{ARB}\n{text}").plan
    assert plan is not None and plan.notify.page is not None
    assert plan.notify.page.telegram is not None and plan.notify.page.telegram.chat == "-100123"
