"""What passes the door is typed and within bounds; nothing else passes, whatever it is."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.engine.sources import LARGEST, LONGEST_TEXT, fits
from runner.sources.door import Flaw, Refused, parse, read, stamp_of, time_of
from runner.spec.source_plan import TimeFormat
from tests.sources.doorlab import SIGNED, hook

PLAN = hook(SIGNED)
GOOD: dict[str, Any] = {
    "id": "a1", "signal": "long", "stop_loss": 59_400, "confidence": "0.9", "sure": True,
    "edge": 2, "more": [{"size": 100.5}], "wait": 250, "unknown": {"x": 1},
}  # fmt: skip


def flaw(body: bytes) -> Flaw:
    with pytest.raises(Refused) as caught:
        read(PLAN, parse(body))
    return caught.value.flaw


def changed(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def test_a_message_becomes_fields_in_their_units() -> None:
    found = read(PLAN, parse(changed()))
    assert found.id == "a1" and found.sent_at == 0
    assert found.fields == {
        "id": "a1", "action": "long", "stop": 59_400.0, "confidence": 0.9, "sure": True,
        "edge": 0.02, "size": 100.5, "wait": 0.25,
    }  # fmt: skip


def test_what_is_optional_may_be_absent_or_null() -> None:
    found = read(PLAN, parse(b'{"id": 7, "signal": "close", "stop_loss": null}'))
    assert found.id == "7" and found.fields["stop"] is None and found.fields["sure"] is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Flaw.NOT_JSON), (b"{", Flaw.NOT_JSON), (b"\xff\xfe", Flaw.NOT_JSON),
        (b"[" * 60_000, Flaw.NOT_JSON), (b'{"id": NaN}', Flaw.NOT_JSON),
        (b" " * 65_537, Flaw.TOO_LARGE), (b"[]", Flaw.ABSENT), (b"3", Flaw.ABSENT),
        (b'{"signal": "long"}', Flaw.ABSENT), (changed(id=None), Flaw.ABSENT),
        (changed(signal="buy"), Flaw.NOT_A_WORD), (changed(signal="LONG"), Flaw.NOT_A_WORD),
        (changed(signal=1), Flaw.WRONG_TYPE), (changed(signal=["long"]), Flaw.WRONG_TYPE),
        (changed(stop_loss=0), Flaw.OUT_OF_RANGE), (changed(stop_loss=-1), Flaw.OUT_OF_RANGE),
        (changed(stop_loss=1e16), Flaw.OUT_OF_RANGE), (changed(stop_loss=True), Flaw.WRONG_TYPE),
        (changed(stop_loss="nan"), Flaw.WRONG_TYPE), (changed(stop_loss="inf"), Flaw.WRONG_TYPE),
        (changed(stop_loss="1_000"), Flaw.WRONG_TYPE), (changed(stop_loss=" 1"), Flaw.WRONG_TYPE),
        (changed(stop_loss="1e999"), Flaw.WRONG_TYPE), (changed(stop_loss={}), Flaw.WRONG_TYPE),
        (changed(stop_loss="\u0661"), Flaw.WRONG_TYPE),
        (changed(confidence=1.0001), Flaw.OUT_OF_RANGE), (changed(sure="yes"), Flaw.WRONG_TYPE),
        (changed(sure=1), Flaw.WRONG_TYPE), (changed(edge=11), Flaw.OUT_OF_RANGE),
        (changed(id="x" * 501), Flaw.OUT_OF_RANGE), (changed(id="a\nb"), Flaw.OUT_OF_RANGE),
        (changed(id="\x00"), Flaw.OUT_OF_RANGE), (changed(id=True), Flaw.WRONG_TYPE),
        (b'{"id": "a", "signal": "long", "stop_loss": 1e400}', Flaw.NOT_JSON),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_reason(body: bytes, reason: Flaw) -> None:
    assert flaw(body) is reason


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    body = b'{"id": "a", "signal": "long", "stop_loss": ' + b"9" * 60_000 + b"}"
    assert flaw(body) in (Flaw.NOT_JSON, Flaw.WRONG_TYPE)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["long", "1e308", "-1e-300", "nan", "9" * 400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)  # fmt: skip
names = ["id", "signal", "stop_loss", "confidence", "sure", "edge", "more", "wait"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(names), anything) | anything)
@example({"id": math.nan, "signal": "long"})
def test_whatever_is_sent_only_fitting_fields_come_out(message: object) -> None:
    try:
        found = read(PLAN, message)
    except Refused:
        return
    for name, value in found.fields.items():
        assert fits(PLAN.fields[name], value)
        if isinstance(value, float):
            assert math.isfinite(value) and abs(value) <= LARGEST
        assert not isinstance(value, str) or len(value) <= LONGEST_TEXT


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_whatever_bytes_come_nothing_but_a_refusal_is_raised(body: bytes) -> None:
    with suppress(Refused):
        read(PLAN, parse(body))


def test_times_of_senders() -> None:
    at = 1_790_000_000_000_000_000
    assert time_of("2026-09-21T14:13:20Z", TimeFormat.ISO) == at
    assert time_of("2026-09-21T16:13:20+02:00", TimeFormat.ISO) == at
    assert time_of("2026-09-21T14:13:20", TimeFormat.ISO) == at, "without a zone it is UTC"
    assert time_of(1_790_000_000, TimeFormat.UNIX) == at
    assert time_of("1790000000000", TimeFormat.UNIX_MS) == at
    assert stamp_of("1790000000") == stamp_of("1790000000000") == stamp_of("1790000000.0") == at
    for wrong in ("", "now", "nan", "1e99", "-5", "9" * 30):
        assert stamp_of(wrong) is None
    assert time_of(True, TimeFormat.UNIX) is None and time_of(None, TimeFormat.ISO) is None


def test_a_refusal_says_whether_it_was_a_word_or_a_bound() -> None:
    for body, words in (
        (changed(signal="hold"), "`action` is not one of its values"),
        (changed(confidence=7), "`confidence` is out of its range"),
    ):
        with pytest.raises(Refused, match=words):
            read(PLAN, parse(body))
