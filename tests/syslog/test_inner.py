# SPDX-License-Identifier: Apache-2.0

"""The inner loop: routing and formatting, against a plain reference."""

from __future__ import annotations

import re
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog.bodies import decode_body
from logplex.syslog.cutting import FrameHeads, cut_frames
from logplex.syslog.inner import (
    cook_frames,
    log_frames,
    sort_frames,
    tail_lines,
    tail_sources,
    take_datagrams,
    take_http_frames,
    take_syslog_frames,
)
from logplex.syslog.message import MAX_MESSAGE_BYTES
from tests import samples

DRAIN = b"d.0"
TOKEN = b"t.11111111-1111-4111-8111-111111111111"
MANY = 10**9

_MESSAGE = re.compile(
    rb"""<(?P<pri>0|[1-9][0-9]{0,2})>1[ ]
    (?P<time>[^ ]*)[ ][^ ]*[ ](?P<source>[^ ]*)[ ](?P<process>[^ ]*)[ ][^ ]*[ ]+(?![ ])
    (?P<data>(?:-|(?:
        \[(?:[a-z]*@[0-9]*|[a-z]+(?:@[0-9]+)?(?:[ ][a-z]+="(?:[^]"\\]|\\.)*")+)\]
    )+)(?:[ ]|\Z))?
    (?P<text>.*)""",
    re.DOTALL | re.VERBOSE,
)


def plainly(message: bytes) -> dict[str, bytes] | None:
    """Return the parts of a message by PROTOCOL §2; ``None`` for bytes that are not a message."""
    found = _MESSAGE.fullmatch(message)
    if not found or int(found["pri"]) > 191:
        return None
    parts = found.groupdict()
    data = (parts["data"] or b"-").rstrip()
    if not parts["text"].strip() and data != b"-":
        parts["text"] = data
    return parts


def counted(form: bytes, parts: dict[str, bytes]) -> bytes:
    frame = form % {name.encode(): part for name, part in parts.items()}
    return b"%d %b" % (len(frame), frame)


def with_lf(text: bytes) -> bytes:
    return text if text.endswith(b"\n") else text + b"\n"


word = st.text("abc-.[]\\<>1", min_size=1, max_size=6).map(str.encode)
head = st.sampled_from([b"<0>1", b"<13>1", b"<191>1", b"<192>1", b"<013>1", b"<1>2", b"x"])
data = st.sampled_from([b"-", b'[a@1 k="v"]', rb'[a@1 k="\]"][b@]', b"[b]", b"[open", b"[a]b", b""])
text = st.one_of(st.binary(max_size=20), word, st.sampled_from([b"a\n", b"\n\n", b"a\nb", b"- a"]))
message = st.one_of(
    st.builds(
        lambda first, words, sd, rest: b" ".join([first, *words, sd, rest]),
        head,
        st.lists(word, min_size=5, max_size=5),
        data,
        text,
    ),
    st.builds(lambda first, words: b" ".join([first, *words]), head, st.lists(word, max_size=9)),
    text,
)
messages = st.lists(message, max_size=8)

WELL_FORMED = b"<13>1 time host app web.1 id - text"


class FormatTests(SynchronousTestCase):
    """Every formatter returns the form of the contract, for any message."""

    @settings(deadline=None)
    @given(messages)
    def test_http(self, given_: list[bytes]) -> None:
        form = b"<%(pri)b>1 %(time)b host %(source)b %(process)b - %(text)b"
        parsed = [parts for parts in map(plainly, given_) if parts]
        queue = deque(given_)
        self.assertEqual(
            take_http_frames(queue, MANY, MANY),
            ([counted(form, parts) for parts in parsed], len(given_) - len(parsed)),
        )
        self.assertFalse(queue)

    @settings(deadline=None)
    @given(messages)
    def test_syslog(self, given_: list[bytes]) -> None:
        form = b"<%(pri)b>1 %(time)b d.0 %(source)b %(process)b - - %(text)b"
        parsed = [parts for parts in map(plainly, given_) if parts]
        queue = deque(given_)
        self.assertEqual(
            take_syslog_frames(queue, DRAIN, MANY),
            (
                [counted(form, {**parts, "text": with_lf(parts["text"])}) for parts in parsed],
                len(given_) - len(parsed),
            ),
        )
        self.assertFalse(queue)

    @settings(deadline=None)
    @given(messages)
    def test_datagrams(self, given_: list[bytes]) -> None:
        form = b"<%(pri)b>1 %(time)b d.0 %(source)b %(process)b - - %(text)b"
        parsed = [parts for parts in map(plainly, given_) if parts]
        queue = deque(given_)
        self.assertEqual(
            take_datagrams(queue, DRAIN, MANY),
            (
                [counted(form, parts).partition(b" ")[2] for parts in parsed],
                len(given_) - len(parsed),
            ),
        )
        self.assertFalse(queue)

    @settings(deadline=None)
    @given(messages)
    def test_logs(self, given_: list[bytes]) -> None:
        form = b"<%(pri)b>1 %(time)b host %(source)b %(process)b - %(text)b"
        parsed = [parts for parts in map(plainly, given_) if parts]
        ended = [{**parts, "text": parts["text"].rstrip(b"\n") + b"\n"} for parts in parsed]
        frames, unparsable = log_frames(given_)
        self.assertEqual(frames, [counted(form, parts) for parts in ended])
        self.assertEqual(unparsable, len(given_) - len(parsed))
        self.assertEqual(len(decode_body(b"".join(frames), 100)[0]), len(frames))

    @settings(deadline=None)
    @given(messages)
    def test_tail(self, given_: list[bytes]) -> None:
        form = b"%(time)b %(source)b[%(process)b]: %(text)b"
        parsed = [plainly(each) for each in given_]
        lines = [
            parts and with_lf(form % {name.encode(): part for name, part in parts.items()})
            for parts in parsed
        ]
        self.assertEqual(tail_lines(given_), lines)
        sources = [parts and (parts["source"], parts["process"]) for parts in parsed]
        self.assertEqual(tail_sources(given_), sources)

    def test_samples(self) -> None:
        """Samples of real senders can be formatted."""
        for sample in (samples.LOGGER, samples.RSYSLOG, samples.SYSLOG_NG):
            found, end = cut_frames(sample, 0, FrameHeads())
            self.assertEqual(end, len(sample))
            lines = tail_lines(found)
            self.assertEqual((len(lines), lines.count(None)), (len(found), 0))

    def test_logger_line(self) -> None:
        """The elements that util-linux logger writes are not shown."""
        found = [
            frame.replace(b"t.6f9224f3", b"app")
            for frame in cut_frames(samples.LOGGER, 0, FrameHeads())[0]
        ]
        self.assertTrue((tail_lines(found[-1:])[0] or b"").endswith(b": two words\n"))


class BatchTests(SynchronousTestCase):
    """A batch is full before it is too large, and what did not fit is still there."""

    def test_http_bytes(self) -> None:
        queue = deque([WELL_FORMED, b"no message", WELL_FORMED, WELL_FORMED])
        frame = take_http_frames(deque([WELL_FORMED]), MANY, MANY)[0][0]
        self.assertEqual(take_http_frames(queue, 2 * len(frame), MANY), ([frame, frame], 1))
        self.assertEqual(list(queue), [WELL_FORMED])

    def test_http_messages(self) -> None:
        queue = deque([WELL_FORMED] * 3)
        self.assertEqual(len(take_http_frames(queue, MANY, 2)[0]), 2)
        self.assertEqual(len(queue), 1)

    def test_syslog_bytes(self) -> None:
        queue = deque([WELL_FORMED] * 3)
        frame = take_syslog_frames(deque([WELL_FORMED]), DRAIN, MANY)[0][0]
        self.assertEqual(take_syslog_frames(queue, DRAIN, 2 * len(frame)), ([frame, frame], 0))
        self.assertEqual(list(queue), [WELL_FORMED])

    def test_large_goes_alone(self) -> None:
        for take in (
            lambda queue: take_http_frames(queue, 1, MANY),
            lambda queue: take_syslog_frames(queue, DRAIN, 1),
        ):
            queue = deque([WELL_FORMED] * 2)
            self.assertEqual(len(take(queue)[0]), 1)
            self.assertEqual(len(queue), 1)

    def test_longer_than_inputs_take(self) -> None:
        """A name that is longer than its token makes the longest message longer: LEN is right."""
        for longer in (40, 1_000):
            longest = WELL_FORMED.ljust(MAX_MESSAGE_BYTES + longer, b"x")
            for frames, _ in (
                take_http_frames(deque([longest]), MANY, MANY),
                take_syslog_frames(deque([longest]), DRAIN, MANY),
            ):
                size, _, body = frames[0].partition(b" ")
                self.assertEqual(int(size), len(body))
                self.assertGreater(len(body), MAX_MESSAGE_BYTES)

    def test_datagrams(self) -> None:
        queue = deque([WELL_FORMED] * 3)
        self.assertEqual(len(take_datagrams(queue, DRAIN, 2)[0]), 2)
        self.assertEqual(len(queue), 1)


class SortTests(SynchronousTestCase):
    """Each frame goes to its token's channel."""

    def test_sorted_and_cooked(self) -> None:
        one: list[bytes] = []
        two: list[bytes] = []
        touched: list[str] = []
        unknown, short = sort_frames(
            [b"<1>1 t h t.1 a", b"<1>1 t h t.2 a i - t.2", b"<1>1 t h t.1 b", b"<1>1 t h t.3 a"],
            {b"t.1": (b"app", one, "one"), b"t.2": (b"a\\1&", two, "two")},
            touched,
            0.0,
        )
        self.assertEqual(one, [b"<1>1 t h app a", b"<1>1 t h app b"])
        self.assertEqual(two, [b"<1>1 t h a\\1& a i - t.2"])
        self.assertEqual(touched, ["one", "two"])
        self.assertEqual(unknown, [b"<1>1 t h t.3 a"])
        self.assertEqual(short, ["one", "one"])

    def test_too_few_fields(self) -> None:
        self.assertEqual(sort_frames([b"", b"a b c"], {}, [], 0.0), ([b"", b"a b c"], []))

    def test_not_in_the_head(self) -> None:
        """If the request names the token, its first occurrence in a text is replaced too."""
        for frame, cooked in (
            (b"a t.1 t.1", b"a app t.1"),
            (b"b", b"b"),
            (b"<1>1 t h web p - - see t.1 t.1", b"<1>1 t h web p - - see app t.1"),
            (b"<1>1 t h web p - - text", b"<1>1 t h web p - - text"),
        ):
            self.assertEqual(cook_frames([frame], b"t.1", b"app", 0.0), ([cooked], 0))

    def test_spaces(self) -> None:
        """Runs of spaces between the fields of the head count as one; those of the text stay."""
        cooked = b"<1>1 time h app web.1 - - a  b"
        for frame in (
            b"<1>1  time h TOKEN web.1 - - a  b",
            b"<1>1 time   h TOKEN web.1 - - a  b",
            b"<1>1 time h  TOKEN web.1 - - a  b",
            b"<1>1 time h TOKEN  web.1 - - a  b",
            b"<1>1 time h TOKEN web.1   - - a  b",
        ):
            self.assert_cooked(frame, cooked)
        self.assert_cooked(b"<1>1 time h TOKEN web.1 -  -  a", b"<1>1 time h app web.1 -  -  a")
        self.assertEqual(
            tail_lines([b"<1>1 time h app web.1 -  -  a"]),
            [b"time app[web.1]:  a\n"],
        )

    def test_spaces_of_another_source(self) -> None:
        """The same, if the request names the token and the head has another source."""
        cooked = b"<1>1 time h web p - - see app  b"
        for frame in (
            b"<1>1  time h web p - - see TOKEN  b",
            b"<1>1 time  h web p - - see TOKEN  b",
            b"<1>1 time h  web p - - see TOKEN  b",
            b"<1>1 time h web p  - - see TOKEN  b",
        ):
            frame = frame.replace(b"TOKEN", TOKEN)
            self.assertEqual(cook_frames([frame], TOKEN, b"app", 0.0), ([cooked], 0))

    def test_token_elsewhere(self) -> None:
        """The token's id is never shown as a part of the head; the text is the sender's."""
        for frame, cooked in (
            (b"<1>1 t TOKEN TOKEN p - - x", b"<1>1 t app app p - - x"),
            (b"<1>1 t TOKEN.example TOKEN p - - x", b"<1>1 t app.example app p - - x"),
            (b"<1>1 t h TOKEN TOKEN - - x", b"<1>1 t h app app - - x"),
            (b"<1>1 t h TOKEN p TOKEN - x", b"<1>1 t h app p app - x"),
            (b"<1>1 TOKEN h TOKEN p - - x", b"<1>1 app h app p - - x"),
            (b"<1>1 2026TOKEN h TOKEN p - - x", b"<1>1 2026app h app p - - x"),
            (b"<1>1 t h TOKEN p TOKEN [a@1] TOKEN", b"<1>1 t h app p app [a@1] TOKEN"),
            (b"<1>1 t h TOKEN p - - TOKEN", b"<1>1 t h app p - - TOKEN"),
        ):
            self.assert_cooked(frame, cooked)

    def test_short(self) -> None:
        """Messages that begin well and have too few fields are told apart: they are not shown."""
        pending: list[bytes] = []
        routes = {TOKEN: (b"app", pending, "one")}
        frame = b"<1>1 t h %b p -" % TOKEN
        for given_, count in (
            (frame, 1),
            (frame + b"     ", 0),
            (b"<1>1 t h %b    " % TOKEN, 1),
            (b"<1>1  t  h  %b" % TOKEN, 1),
            (b"<192>1" + frame[4:], 0),
        ):
            self.assertEqual(sort_frames([given_], routes, [], 0.0)[1], ["one"] * count)
            self.assertEqual(cook_frames([given_], TOKEN, b"app", 0.0)[1], count)

    def test_docker(self) -> None:
        """Docker writes the tag, which is the token, into MSGID too."""
        token = b"t.00000000-0000-4000-8000-000000000001"
        frames = samples.DOCKER.splitlines()
        self.assertEqual({frame.count(token) for frame in frames}, {2})
        pending: list[bytes] = []
        self.assertEqual(sort_frames(frames, {token: (b"app", pending, "one")}, [], 0.0), ([], []))
        self.assertEqual([message for message in pending if token in message], [])
        self.assertEqual(
            tail_lines(pending[:1]),
            [b"2026-11-29T01:29:38Z app[1804]: order accepted order=17\n"],
        )

    def test_no_time(self) -> None:
        """A message without a time gets that of its arrival, for its readers."""
        self.assert_cooked(
            b"<1>1 - h TOKEN p - - x", b"<1>1 1970-01-01T00:00:01.500000+00:00 h app p - - x", 1.5
        )

    def assert_cooked(self, frame: bytes, cooked: bytes, now: float = 0.0) -> None:
        """By both ways into a channel."""
        frame = frame.replace(b"TOKEN", TOKEN)
        cooked = cooked.replace(b"TOKEN", TOKEN)
        pending: list[bytes] = []
        self.assertEqual(sort_frames([frame], {TOKEN: (b"app", pending, "one")}, [], now), ([], []))
        self.assertEqual(pending, [cooked])
        self.assertEqual(cook_frames([frame], TOKEN, b"app", now), ([cooked], 0))


class FrameHeadTests(SynchronousTestCase):
    """The memory of frame heads that were read: bounded, and never closed to new ones."""

    def test_many_heads(self) -> None:
        """A sender of ever new heads takes no memory, and the next head is remembered again."""
        heads = FrameHeads()
        messages = [
            b"<%d>1 %b" % (pri, b"x" * size) for pri in range(192) for size in range(100, 240)
        ]
        self.assertGreater(len(messages), heads.MAX_HEADS)
        body = b"".join(b"%d %b" % (len(message), message) for message in messages)
        self.assertEqual(cut_frames(body, 0, heads), (messages, len(body)))
        self.assertLessEqual(len(heads.sizes), heads.MAX_HEADS)
        last = b"150 <14>1 2" + b"y" * 143
        self.assertEqual(cut_frames(last, 0, heads)[1], len(last))
        self.assertIn(last[:11], heads.sizes)
