"""Recordings: what was handled, in order; readable up to the last whole frame."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.base.clock import NS_PER_S, VirtualClock
from runner.base.errors import WorldError
from runner.base.secret import Secret
from runner.engine.events import ClockReading, Event, Host, Timer
from runner.store.lines import (
    AnyLine,
    Close,
    Ev,
    Head,
    Http,
    In,
    Open,
    Out,
    Strategy,
    in_bytes,
    line_bytes,
)
from runner.store.recorder import About, Recorder
from runner.store.recording import Recording, merge
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
ABOUT = About(
    run="0123456789",
    runner="0.1.0",
    source="live",
    strategy=Strategy(name="arb", sha="abc", text="name: arb", set={"x": "1"}),
    facts={"bin": {"tick": "0.1"}},
)


def recorder(folder: Path, clock: VirtualClock | None = None, **sizes: int) -> Recorder:
    return Recorder(folder, ABOUT, clock or VirtualClock(), patient=True, **sizes)


def opened(it: Recorder, c: int = 1, socket: str = "public", t: int = 0) -> None:
    it.open(c, t, t, "binance", "binance_usdm", socket, "wss://h/ws?listenKey=k")


def texts(lines: list[AnyLine]) -> list[str]:
    return [line.d for line in lines if isinstance(line, In)]


def test_every_kind_of_line_comes_back_in_handling_order(tmp_path: Path) -> None:
    it = recorder(tmp_path / "r")
    opened(it)
    it.frame(1, 5, 105, True, b'{"a":"\xc3\xa9 \\" \\n"}')
    it.add((1, 6, 106, False, b"\xff\x00raw"))
    it.out(1, 7, 107, b'{"op":"ping"}')
    it.http(2, 8, 108, "GET /fapi/v1/depth?symbol=BTCUSDT", 200, b'{"lastUpdateId":1}')
    it.event(ClockReading(t=9, wall=109, exchange="binance", offset=-5, uncertainty=3))
    it.event(Timer(t=10, wall=110, due=10))
    it.close(1, 11, 111, "closed by us")
    it.finish()
    recording = Recording(tmp_path / "r")
    lines = list(recording)
    assert [type(line) for line in lines] == [Head, Open, In, In, Out, Http, Ev, Ev, Close]
    assert recording.head == lines[0]
    assert recording.head.strategy == ABOUT.strategy and recording.head.facts == ABOUT.facts
    opening, text, binary, _, answer, clock, timer, end = lines[1:]
    assert isinstance(opening, Open) and opening.url == "wss://h/ws"
    assert isinstance(text, In) and text.payload == b'{"a":"\xc3\xa9 \\" \\n"}'
    assert (text.t, text.w, text.m) == (5, 105, 1)
    assert isinstance(binary, In) and binary.payload == b"\xff\x00raw" and binary.m == 0
    assert isinstance(answer, Http) and answer.req.startswith("GET /fapi") and answer.c == 2
    assert isinstance(clock, Ev) and isinstance(timer, Ev)
    reading = ClockReading(t=9, wall=109, exchange="binance", offset=-5, uncertainty=3)
    assert clock.event() == reading
    assert timer.event() == Timer(t=10, wall=110, due=10)
    assert isinstance(end, Close) and end.why == "closed by us"
    assert recording.state.lines == 9 and recording.state.ended and not recording.state.broken


@given(st.lists(st.binary(max_size=80), max_size=30))
def test_any_bytes_come_back_as_they_were(payloads: list[bytes]) -> None:
    for payload in payloads:
        line = msgspec.json.decode(in_bytes(3, 1, 2, True, payload), type=AnyLine)
        assert isinstance(line, In)
        assert (line.payload, line.c, line.t, line.w, line.m) == (payload, 3, 1, 2, 1)


def test_secrets_are_not_recorded(tmp_path: Path) -> None:
    secret = Secret("canary-rec-55aa")
    it = recorder(tmp_path / "r")
    opened(it, 1, "private")
    told = f'{{"listenKey":"{secret.reveal()}","x":1}}'.encode()
    it.frame(1, 1, 1, False, told)
    it.out(1, 2, 2, told)
    it.http(1, 3, 3, "GET /x?timestamp=1&signature=0123abcdef", 200, told)
    it.close(1, 4, 4, f"refused {secret.reveal()}")
    it.finish()
    lines = list(Recording(tmp_path / "r"))
    whole = b"".join(line_bytes(line) for line in lines)
    assert b"canary" not in whole and b"0123abcdef" not in whole
    assert isinstance(lines[2], In) and msgspec.json.decode(lines[2].payload)["x"] == 1


def test_a_zstd_frame_ends_each_second(tmp_path: Path) -> None:
    clock = VirtualClock()
    it = recorder(tmp_path / "r", clock)
    for second in range(5):
        it.frame(1, second, second, False, b"x")
        clock.advance(NS_PER_S)
        it.encode()
    it.finish()
    (path,) = Recording(tmp_path / "r").paths
    assert path.read_bytes().count(b"\x28\xb5\x2f\xfd") == 6, "five seconds, and the end line"


def test_segments_rotate_and_each_stands_alone(tmp_path: Path) -> None:
    clock = VirtualClock()
    it = recorder(tmp_path / "r", clock, segment_ns=2 * NS_PER_S)
    opened(it, 1)
    opened(it, 2)
    for second in range(7):
        it.frame(1, second, second, False, b"%d" % second)
        if second == 2:
            it.close(2, second, second)
        clock.advance(NS_PER_S)
        it.encode()
    it.finish()
    recording = Recording(tmp_path / "r")
    lines = list(recording)
    assert len(recording.paths) == 4 == recording.state.segments
    assert texts(lines) == [str(n) for n in range(7)]
    assert sum(isinstance(line, Open) for line in lines) == 2, "repeated opens are left out"
    assert sum(isinstance(line, Head) for line in lines) == 1
    alone = list(Recording(recording.paths[1]))
    assert [line.c for line in alone if isinstance(line, Open)] == [1, 2]
    later = list(Recording(recording.paths[2]))
    assert [line.c for line in later if isinstance(line, Open)] == [1]
    assert later[0].seg == 3  # type: ignore[union-attr]


def test_segments_rotate_by_size(tmp_path: Path) -> None:
    clock = VirtualClock()
    it = recorder(tmp_path / "r", clock, segment_bytes=3_000)
    for n in range(60):
        it.frame(1, n, n, False, b"x" * 100)
        clock.advance(NS_PER_S)
        it.encode()
    it.finish()
    recording = Recording(tmp_path / "r")
    assert len(texts(list(recording))) == 60
    assert len(recording.paths) > 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str], list[int]]:
    """A segment of ten frames: its bytes, its texts, and where each zstd frame ends."""
    folder = tmp_path_factory.mktemp("whole") / "r"
    clock = VirtualClock()
    it = recorder(folder, clock)
    for n in range(100):
        it.frame(1, n, n, False, b'{"n":%d}' % n)
        if n % 10 == 9:
            clock.advance(NS_PER_S)
            it.encode(1000)
    it.finish()
    recording = Recording(folder)
    raw = recording.paths[0].read_bytes()
    ends, rest = [], raw
    while rest:
        frame = zstandard.ZstdDecompressor().decompressobj()
        frame.decompress(rest)
        rest = frame.unused_data
        ends.append(len(raw) - len(rest))
    return raw, texts(list(recording)), ends


def test_a_recording_cut_anywhere_keeps_its_whole_frames(
    tmp_path: Path, whole: tuple[bytes, list[str], list[int]]
) -> None:
    raw, all_texts, ends = whole
    path = tmp_path / "000001.jsonl.zst"
    for cut in range(ends[0], len(raw), 7):
        path.write_bytes(raw[:cut])
        recording = Recording(tmp_path)
        kept = texts(list(recording))
        frames = sum(end <= cut for end in ends)
        assert kept == all_texts[: 10 * frames]
        assert recording.state.lines == len(kept) + 1
        assert not recording.state.ended
        assert bool(recording.state.broken) == (cut not in ends)
    for cut in (0, 1, ends[0] - 1):
        path.write_bytes(raw[:cut])
        with pytest.raises(WorldError, match="no recording that can be read"):
            Recording(tmp_path)


def test_a_flipped_bit_never_changes_what_is_read(
    tmp_path: Path, whole: tuple[bytes, list[str], list[int]]
) -> None:
    raw, all_texts, ends = whole
    path = tmp_path / "000001.jsonl.zst"
    (tmp_path / "000002.jsonl.zst").write_bytes(raw)
    noticed = 0
    for at in range(ends[3], ends[4]):
        damaged = bytearray(raw)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        recording = Recording(tmp_path)
        kept = texts(list(recording))
        if recording.state.broken:
            noticed += 1
            assert kept == all_texts[:40], "nothing behind the damage is believed"
            assert "zstd frame 5" in recording.state.broken
        else:
            assert kept == all_texts + all_texts, "zstd has a few bits that mean nothing"
    assert noticed > 0.9 * (ends[4] - ends[3])


def test_a_line_of_no_known_shape_stops_the_reading(tmp_path: Path) -> None:
    head = line_bytes(Head(run="r", seg=1, wall=1, mono=0, runner="0", source="live"))
    good = in_bytes(1, 1, 1, False, b"x")
    compress = zstandard.ZstdCompressor().compress
    path = tmp_path / "000001.jsonl.zst"
    for bad in (b'{"k":"in","c":"one"}\n', b'{"k":"new"}\n', b"{\n", b"[]\n"):
        path.write_bytes(compress(head + good) + compress(bad) + compress(good))
        recording = Recording(tmp_path)
        assert texts(list(recording)) == ["x"]
        assert "zstd frame 2" in recording.state.broken


def test_a_missing_end_in_the_middle_stops_before_the_next_segment(
    tmp_path: Path, whole: tuple[bytes, list[str], list[int]]
) -> None:
    raw, _, ends = whole
    (tmp_path / "000001.jsonl.zst").write_bytes(raw[: ends[5]])
    (tmp_path / "000002.jsonl.zst").write_bytes(raw)
    recording = Recording(tmp_path)
    assert len(texts(list(recording))) == 60
    assert recording.state.broken == "000001.jsonl.zst: cut off before its end"


def test_a_run_leads_to_its_recording(
    tmp_path: Path, whole: tuple[bytes, list[str], list[int]]
) -> None:
    (tmp_path / "recording").mkdir()
    (tmp_path / "recording" / "000001.jsonl.zst").write_bytes(whole[0])
    assert Recording(tmp_path).folder == tmp_path / "recording"


def test_a_newer_format_and_a_folder_without_recording_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="holds no recording"):
        Recording(tmp_path)
    with pytest.raises(WorldError, match="no such recording"):
        Recording(tmp_path / "nowhere")
    (tmp_path / "runs" / "tp51").mkdir(parents=True)
    with pytest.raises(WorldError, match=r"name one, such as .*/runs/tp51"):
        Recording(tmp_path)
    (tmp_path / "runs" / "tp51" / "decisions.jsonl").touch()
    with pytest.raises(WorldError, match="this run kept none"):
        Recording(tmp_path / "runs" / "tp51")
    head = line_bytes(Head(run="r", seg=1, wall=1, mono=0, runner="9", source="live", v=2))
    (tmp_path / "000001.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(head))
    with pytest.raises(WorldError, match="format 2"):
        Recording(tmp_path)


def test_a_folder_is_recorded_into_once(tmp_path: Path) -> None:
    recorder(tmp_path / "r").finish()
    with pytest.raises(WorldError, match="already"):
        recorder(tmp_path / "r")
    with pytest.raises(WorldError, match="cannot record"):
        (tmp_path / "file").write_text("")
        recorder(tmp_path / "file" / "r")


def test_a_failing_disk_drops_lines_and_says_so(tmp_path: Path) -> None:
    clock = VirtualClock()
    it = recorder(tmp_path / "r", clock, segment_ns=NS_PER_S)
    it.encode()
    path = tmp_path / "r" / "000002.jsonl.zst"
    path.mkdir()
    for _ in range(3):
        it.frame(1, 1, 1, False, b"x")
        clock.advance(NS_PER_S)
        it.encode()
    it.finish()
    assert "File exists" in it.failure


def test_an_event_that_cannot_be_encoded_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    it = recorder(tmp_path / "r")
    it.frame(1, 1, 1, False, b"before")
    it.event(Host(fault="x", text="lone \ud800 surrogate"))
    it.frame(1, 2, 2, False, b"after")
    it.finish()
    recording = Recording(tmp_path / "r")
    assert texts(list(recording)) == ["before", "after"] and recording.state.ended
    assert (it.unencodable, it.lines) == (1, 2)


def test_merging_orders_by_wall_clock_and_renumbers_connections(tmp_path: Path) -> None:
    start = 1_700_000_000 * NS_PER_S
    for name, late, stamps in (("a", 0, (1, 4, 4, 9)), ("b", 2, (0, 1, 3, 30))):
        clock = VirtualClock(mono=500 * late, wall=start + late)
        it = recorder(tmp_path / name, clock)
        opened(it, 1, t=500 * late)
        for n in stamps:
            it.frame(1, 500 * late + n, 0, False, f"{name}{n}".encode())
        it.finish()
    lines = list(merge([Recording(tmp_path / "a"), Recording(tmp_path / "b")]))
    assert texts(lines) == ["a1", "b0", "b1", "a4", "a4", "b3", "a9", "b30"]
    assert [line.t for line in lines if isinstance(line, In)] == [1, 2, 3, 4, 4, 5, 9, 32]
    assert {line.c for line in lines if isinstance(line, In) and line.d.startswith("a")} == {1}
    assert {line.c for line in lines if isinstance(line, In) and line.d.startswith("b")} == {2}


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=2, max_size=3))
def test_merging_keeps_each_recordings_order_and_every_line(
    tmp_path_factory: pytest.TempPathFactory, times: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    recordings = []
    for index, stamps in enumerate(times):
        it = recorder(folder / str(index))
        for n, t in enumerate(stamps):
            it.frame(1, t, t, False, f"{index}:{n}".encode())
        it.finish()
        recordings.append(Recording(folder / str(index)))
    lines = [line for line in merge(recordings) if isinstance(line, In)]
    for index, stamps in enumerate(times):
        mine = [line.d for line in lines if line.d.startswith(f"{index}:")]
        assert mine == [f"{index}:{n}" for n in range(len(stamps))]
    assert [line.t for line in lines] == sorted(line.t for line in lines)


def test_the_task_encodes_beside_the_loop(tmp_path: Path) -> None:
    async def test() -> None:
        it = recorder(tmp_path / "r")
        task = asyncio.create_task(it.run())
        for n in range(500):
            it.add((1, n, n, False, b"x"))
        while it.lines < 500:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        it.finish()
        it.finish()

    asyncio.run(test())
    assert len(texts(list(Recording(tmp_path / "r")))) == 500


CHILD = """
import sys, time
from pathlib import Path
from runner.base.clock import NS_PER_S, VirtualClock
from runner.store.recorder import About, Recorder
clock = VirtualClock()
it = Recorder(Path(sys.argv[1]), About(run="r", runner="0", source="live"), clock,
              segment_ns=2 * NS_PER_S, patient=True)
for n in range(100):
    it.frame(1, n, n, False, b"%d" % n)
    clock.advance(NS_PER_S)
    it.encode()
    while it._writer._queue.qsize():
        time.sleep(0.001)
"""


def test_a_kill_between_two_segments_leaves_a_readable_recording(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_CRASH": "segment_rotation:3"}
    code = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "r")],
        env=environment,
        check=False,
        timeout=PATIENCE_S,
    ).returncode
    assert code == -signal.SIGKILL
    recording = Recording(tmp_path / "r")
    kept = texts(list(recording))
    assert kept == [str(n) for n in range(len(kept))]
    assert len(kept) <= 6 and len(recording.paths) <= 3


def test_events_of_every_type_can_be_told_apart() -> None:
    """Encoding uses the tag that `AnyEvent` decodes by."""
    from typing import get_args

    from runner.engine.events import AnyEvent

    tags = [each.__struct_config__.tag for each in get_args(AnyEvent)]
    assert len(set(tags)) == len(tags)
    assert all(issubclass(each, Event) for each in get_args(AnyEvent))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_bytes_whatever_make_the_reader_raise_anything_but_its_own_error(
    tmp_path_factory: pytest.TempPathFactory,
    whole: tuple[bytes, list[str], list[int]],
    data: st.DataObject,
) -> None:
    raw = bytearray(whole[0])
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 8))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        content = bytes(raw)
    else:
        lines = data.draw(st.lists(st.binary(max_size=60), max_size=6))
        content = zstandard.ZstdCompressor().compress(b"\n".join(lines))
    path = tmp_path_factory.mktemp("fuzz") / "000001.jsonl.zst"
    path.write_bytes(content)
    try:
        recording = Recording(path.parent)
        kept = texts(list(recording))
    except WorldError:
        return
    assert recording.state.lines >= len(kept)
