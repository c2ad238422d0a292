# SPDX-License-Identifier: Apache-2.0

"""``POST /logs``, byte for byte over memory."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64encode
from random import Random

from attrs import evolve
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from logplex.access.authenticator import Authenticator, Throttle
from logplex.inputs import gate, logs
from logplex.inputs.logs import logs_site
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.model.values import ANY_CHANNEL, Channel, Credential, Delete, Drain, Put, Token
from logplex.routing.firehose import Firehose
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import FirehoseSettings, Limits
from logplex.syslog.message import cut_message
from tests import samples
from tests.doubles.interfaces import ListOutlet, RecordingSpool
from tests.doubles.wire import Wire, body_of, chunks, request, status

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment]

ONE = "t.11111111-1111-4111-8111-111111111111"
TWO = "t.22222222-2222-4222-8222-222222222222"
ALIEN = "t.99999999-9999-4999-8999-999999999999"
SHUTTLE = "t.657a74ec-e480-47cd-b1ee-113623c53678"
LOGPLEX_1 = "application/logplex-1"


def frames(*messages: bytes) -> bytes:
    return b"".join(b"%d %b" % (len(message), message) for message in messages)


def message(token: str, text: str) -> bytes:
    return f"<13>1 2026-01-01T00:00:00+00:00 h {token} web.1 - - {text}".encode()


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


WRITER = basic("writer", "secret")
AS_ONE = basic("token", ONE)


class LogsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.rods = Live(Rods())
        self.counters = Counters()
        self.limits = Live(Limits(logs_body_bytes=100_000, logs_decompressed_bytes=200_000))
        self.registry = Registry()
        spool = RecordingSpool()
        router = self.router = Router(
            self.registry,
            spool,
            self.rods,
            self.counters,
            clock=self.clock,
            limits=self.limits,
            firehose=Firehose(FirehoseSettings(), self.registry, self.rods, Random(1)),
        )
        authenticator = Authenticator(
            self.registry.credential, [], "", Throttle(self.clock, self.limits, Counters())
        )
        self.site = logs_site(
            router,
            self.registry,
            authenticator,
            self.rods,
            counters=self.counters,
            limits=self.limits,
            clock=self.clock,
        )
        self.wire = Wire(self.site)
        self.one, self.two = ListOutlet(), ListOutlet()
        self.load()

    def load(self) -> None:
        self.registry.loaded(
            [
                Channel("one"),
                Channel("two"),
                Token(ONE, "one", "app"),
                Token(TWO, "two", "router"),
                Token(SHUTTLE, "one", "shuttle"),
                Credential("writer", "secret", channel=ANY_CHANNEL),
                Credential("reader", "secret", full_api=True),
                Credential("single", "secret", channel="one"),
            ]
        )
        self.registry.attach("one", self.one)
        self.registry.attach("two", self.two)

    def post(
        self,
        body: bytes,
        authorization: str = WRITER,
        kind: str = LOGPLEX_1,
        **more: str,
    ) -> tuple[int, bytes]:
        headers = {"Authorization": authorization, "Content_Type": kind, **more}
        answer = self.wire.send(request("POST", "/logs", body, **headers))
        return status(answer), body_of(answer)


class RoutingTests(LogsTests):
    """The routes of messages."""

    def test_by_the_messages_tokens(self) -> None:
        body = frames(message(ONE, "1"), message(TWO, "2"), message(ONE, "3"))
        self.assertEqual(self.post(body), (204, b""))
        self.assertEqual(self.one.calls, [[message("app", "1"), message("app", "3")]])
        self.assertEqual(self.two.calls, [[message("router", "2")]])

    def test_by_the_senders_token(self) -> None:
        body = frames(message(ONE, "1"), message(TWO, "2"), b"<42> blafasel")
        self.assertEqual(self.post(body, AS_ONE), (204, b""))
        self.assertEqual(
            self.one.calls, [[message("app", "1"), message(TWO, "2"), b"<42> blafasel"]]
        )

    def test_one_channel(self) -> None:
        """A credential for one channel writes into that one only."""
        body = frames(message(ONE, "1"), message(TWO, "2"), b"x")
        self.assertEqual(self.post(body, basic("single", "secret")), (204, b""))
        self.assertEqual(self.one.calls, [[message("app", "1")]])
        self.assertEqual(self.two.calls, [])
        self.assertEqual((self.counters.received, self.counters.not_permitted), (3, 2))
        activity = self.router.activity("one")
        assert activity is not None
        self.assertEqual((activity.received, activity.dropped), (1, {"not_permitted": 2}))

    def test_unknown_tokens(self) -> None:
        self.assertEqual(self.post(frames(message(ALIEN, "1"), message(ONE, "2"))), (204, b""))
        self.assertEqual(self.one.messages, [message("app", "2")])
        self.assertEqual(self.counters.unknown_token, 1)

    def test_empty_body(self) -> None:
        self.assertEqual(self.post(b""), (204, b""))
        self.assertEqual(self.post(b"", Content_Encoding="gzip"), (204, b""))

    def test_empty_answer(self) -> None:
        """A 204 has no length (RFC 9110 §8.6), and the connection stays."""
        answer = self.wire.send(
            request("POST", "/logs", b"", Authorization=WRITER, Content_Type=LOGPLEX_1)
        )
        self.assertNotIn(b"Content-Length", answer)
        self.assertNotIn(b"Transfer-Encoding", answer)
        self.assertEqual(self.post(frames(message(ONE, "1"))), (204, b""))

    def test_log_shuttle(self) -> None:
        """A request of log-shuttle: chunked, and in pieces."""
        last = samples.LOG_SHUTTLE_BODY.rfind(b"83 <")
        body = samples.LOG_SHUTTLE_BODY[:last]
        head = samples.LOG_SHUTTLE_HEAD.replace(b"\n", b"\r\n").replace(b"Count: 200", b"Count: 6")
        stream = head + b"\r\n\r\n" + chunks(body[:300], body[300:])
        answer = self.wire.send(*[stream[at : at + 100] for at in range(0, len(stream), 100)])
        self.assertEqual(status(answer), 204)
        self.assertEqual(len(self.one.messages), 6)
        self.assertTrue(
            self.one.messages[5].endswith(b"shuttle token web.1 - - shuttle line seq=5\n")
        )


class BearerTests(LogsTests):
    """A token as a bearer token, as log-shuttle can send it."""

    def test_known(self) -> None:
        for scheme in ("Bearer", "bearer", "BEARER "):
            self.assertEqual(self.post(frames(b"x"), f"{scheme} {ONE}"), (204, b""))
        self.assertEqual(self.one.messages, [b"x"] * 3)

    def test_unknown(self) -> None:
        for token in (ALIEN, "", "writer:secret", "é"):
            self.wire = Wire(self.site)
            self.assertEqual(self.post(frames(b"x"), f"Bearer {token}")[0], 401)

    def test_same_sender(self) -> None:
        """A frame id is known, whichever way the sender shows its token."""
        for authorization in (AS_ONE, f"Bearer {ONE}"):
            self.assertEqual(self.post(frames(b"x"), authorization, Logplex_Frame_Id="1")[0], 204)
        self.assertEqual(len(self.one.messages), 1)


class RefusedTests(LogsTests):
    """Refused requests are counted, known to the channel, and in the log now and then."""

    def refused(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["status"], sample.labels["reason"]): sample.value
            for sample in self.site.samples("logs")
            if sample.name == "logplex_logs_requests_refused"
        }

    def test_each(self) -> None:
        good = frames(message(ONE, "1"))
        for _ in range(5):
            for body, authorization, more in (
                (good, f"Bearer {ALIEN}", {}),
                (good, basic("reader", "secret"), {}),
                (good, AS_ONE, {"kind": "text/html"}),
                (good, AS_ONE, {"Content_Encoding": "br"}),
                (good, AS_ONE, {"Logplex_Msg_Count": "2"}),
                (good, AS_ONE, {"Content_Encoding": "gzip"}),
                (good + b"x", AS_ONE, {}),
                (b"x" * 100_001, AS_ONE, {}),
                (gzip.compress(b"x" * 200_001), AS_ONE, {"Content_Encoding": "gzip"}),
                (b"1 x" * 2, basic("single", "secret"), {"Logplex_Msg_Count": "1"}),
            ):
                self.wire = Wire(self.site)
                self.assertGreater(self.post(body, authorization, **more)[0], 399)
        self.assertEqual(
            self.refused(),
            {
                ("401", "not_authorized"): 5,
                ("403", "not_permitted"): 5,
                ("415", "content_type"): 5,
                ("415", "content_encoding"): 5,
                ("400", "count_mismatch"): 10,
                ("400", "compression"): 5,
                ("400", "malformed"): 5,
                ("413", "body_too_large"): 5,
                ("413", "decompressed_too_large"): 5,
            },
        )
        activity = self.router.activity("one")
        assert activity is not None
        self.assertEqual(
            {(str(code), reason): count for (code, reason), count in activity.refused.items()},
            {
                cause: count
                for cause, count in self.refused().items()
                if cause[0] not in ("401", "403")
            },
        )
        self.assertEqual(self.one.calls, [])

    def test_log(self) -> None:
        """A line for each cause, once a minute, without a secret."""
        with capturedLogs() as events:
            for wait_s in (0, 0, 59, 1):
                self.clock.advance(wait_s)
                for kind in ("text/html", LOGPLEX_1):
                    self.wire = Wire(self.site)
                    self.post(frames(b"x"), AS_ONE, kind, Logplex_Msg_Count="7")
        lines = [formatEvent(event) for event in events]
        for reason in ("415 content_type", "400 count_mismatch"):
            self.assertEqual(
                [line for line in lines if reason in line],
                [
                    f"refused {count} requests with messages: {reason}; "
                    "the last came from 192.168.1.1 for channel one"
                    for count in (1, 3)
                ],
            )
        self.assertNotIn(ONE, str(lines))


class LoopTests(LogsTests):
    """Requests of a channel's own drain."""

    def test_refused(self) -> None:
        self.registry.changed([Put(Drain(1, "one", "d.1", "http://token:x@here/logs"))])
        body = frames(message(ONE, "1"))
        for authorization in (AS_ONE, WRITER, basic("single", "secret")):
            for _ in range(2):
                self.assertEqual(self.post(body, authorization, Logplex_Drain_Token="d.1")[0], 508)
        self.assertEqual([len(call) for call in self.one.calls], [1])
        self.assertIn(b"Error (drain loop): drain 'd.1'", self.one.messages[0])
        activity = self.router.activity("one")
        assert activity is not None
        self.assertEqual(activity.refused, {(508, "loop"): 4})

    def test_other_drains(self) -> None:
        self.registry.changed([Put(Drain(1, "two", "d.1", "http://token:x@here/logs"))])
        for drain_token in ("d.1", "d.2"):
            answer = self.post(frames(message(ONE, "1")), AS_ONE, Logplex_Drain_Token=drain_token)
            self.assertEqual(answer, (204, b""))
        self.assertEqual(len(self.one.messages), 2)


class BodyTests(LogsTests):
    """The form of a body."""

    def test_malformed(self) -> None:
        """Then nothing of it is routed."""
        good = frames(message(ONE, "1"))
        for end in (b"x", b"5 hell", b"<13>1 line\n"):
            place = b"byte %d, frame 3" % (2 * len(good) + 1)
            self.assertEqual(self.post(good * 2 + end), (400, b"Malformed log messages: " + place))
        self.assertEqual(self.one.calls, [])
        self.assertEqual((self.counters.malformed, self.counters.received), (3, 0))

    def test_blank_lines(self) -> None:
        body = b"\n" + frames(message(ONE, "1")) + b"\r\n\n" + frames(message(ONE, "2")) + b"\n"
        self.assertEqual(self.post(body, Logplex_Msg_Count="2"), (204, b""))
        self.assertEqual(self.one.messages, [message("app", "1"), message("app", "2")])

    def test_too_long(self) -> None:
        long = message(ONE, "x" * 11_000)
        self.assertEqual(self.post(frames(long, message(ONE, "2"))), (204, b""))
        self.assertEqual(
            self.one.messages,
            [cut_message(long).replace(ONE.encode(), b"app"), message("app", "2")],
        )
        self.assertEqual(self.counters.truncated, 1)

    def test_count(self) -> None:
        body = frames(message(ONE, "1"), message(ONE, "2"))
        for wrong in ("1", "3", "0", "-2", "+2", "0_2", "9" * 20, "9" * 5_000):
            self.assertEqual(
                self.post(body, Logplex_Msg_Count=wrong), (400, b"Message count mismatch")
            )
        self.assertEqual(self.one.calls, [])
        for right in ("2", "02", "", "two", "2.0"):
            self.assertEqual(self.post(body, Logplex_Msg_Count=right), (204, b""), right)

    def test_gzip(self) -> None:
        body = gzip.compress(frames(message(ONE, "1")))
        for encoding in ("gzip", "GZIP", "x-gzip"):
            self.assertEqual(self.post(body, Content_Encoding=encoding), (204, b""))
        self.assertEqual(len(self.one.messages), 3)

    def test_deflate(self) -> None:
        body = zlib.compress(frames(message(ONE, "1")))
        self.assertEqual(self.post(body, Content_Encoding="deflate"), (204, b""))
        self.assertEqual(self.post(body[2:-4], Content_Encoding="deflate"), (204, b""))
        self.assertEqual(len(self.one.messages), 2)

    def test_zstd(self) -> None:
        if zstandard is None:
            raise SkipTest("zstandard is not installed")
        body = zstandard.ZstdCompressor().compress(frames(message(ONE, "1")))
        self.assertEqual(self.post(body, Content_Encoding="zstd"), (204, b""))
        self.assertEqual(len(self.one.messages), 1)

    def test_unknown_encodings(self) -> None:
        """The answer says which ones are taken."""
        for encoding in ("br", "gzip, gzip", "compress"):
            head = request(
                "POST",
                "/logs",
                b"x",
                Authorization=AS_ONE,
                Content_Type=LOGPLEX_1,
                Content_Encoding=encoding,
            )
            answer = Wire(self.site).send(head)
            self.assertEqual(status(answer), 415)
            self.assertIn(b"\r\nAccept-Encoding: gzip, deflate", answer)

    def test_without_zstd(self) -> None:
        """An extra that is not installed is named."""
        self.patch(gate, "ENCODINGS", ("gzip", "deflate"))
        code, text = self.post(b"x", Content_Encoding="zstd")
        self.assertEqual(code, 415)
        self.assertIn(b"logplex[zstd]", text)

    def test_gzip_in_chunks(self) -> None:
        whole = frames(message(ONE, "1"), message(ONE, "2"))
        body = gzip.compress(whole[:50]) + gzip.compress(whole[50:])
        head = request(
            "POST",
            "/logs",
            Authorization=AS_ONE,
            Content_Type=LOGPLEX_1,
            Content_Encoding="gzip",
            Transfer_Encoding="chunked",
        )
        pieces = chunks(*[body[at : at + 7] for at in range(0, len(body), 7)])
        self.assertEqual(status(self.wire.send(head, pieces[:40], pieces[40:])), 204)
        self.assertEqual(self.one.messages, [message("app", "1"), message("app", "2")])

    def test_bad_gzip(self) -> None:
        good = gzip.compress(frames(message(ONE, "1")))
        for body in (b"hello", good[:-1], good + b"x"):
            self.assertEqual(self.post(body, Content_Encoding="gzip"), (400, b"Bad request"))
        self.assertEqual(self.one.calls, [])

    def test_bomb(self) -> None:
        body = gzip.compress(b"\n" * 200_001)
        self.assertEqual(self.post(body, Content_Encoding="gzip")[0], 413)
        body = gzip.compress(b"\n" * 200_000)
        self.assertEqual(self.post(body, Content_Encoding="gzip")[0], 204)

    def test_too_many(self) -> None:
        self.limits.now = evolve(self.limits.now, logs_body_messages=2)
        self.assertEqual(self.post(frames(b"a", b"b"))[0], 204)
        self.assertEqual(self.post(frames(b"a", b"b", b"c")), (413, b"Too many log messages"))

    def test_too_large(self) -> None:
        self.assertEqual(self.post(b"\n" * 100_000)[0], 204)
        self.assertEqual(self.post(b"\n" * 100_001)[0], 413)


class LargeTests(LogsTests):
    """Bodies that take more than one turn of the reactor."""

    def setUp(self) -> None:
        super().setUp()
        self.limits.now = evolve(self.limits.now, logs_decompressed_bytes=2_000_000)
        self.text = frames(*[message(ONE, "x" * 10_000)] * 100)
        self.large = gzip.compress(self.text)

    def begin(self, body: bytes, **more: str) -> Wire:
        """Send a request, and return the connection on which it is answered later."""
        wire = Wire(self.site)
        headers = {"Authorization": AS_ONE, "Content_Type": LOGPLEX_1, "Content_Encoding": "gzip"}
        answer = wire.send(request("POST", "/logs", body, **headers, **more))
        self.assertEqual(answer, b"")
        return wire

    def finish(self, *wires: Wire) -> list[int]:
        """The statuses, once there are some."""
        self.clock.pump([0] * 10)
        return [status(wire.received()) for wire in wires]

    def test_taken(self) -> None:
        self.assertEqual(self.finish(self.begin(self.large)), [204])
        self.assertEqual(len(self.one.messages), 100)

    def test_others_meanwhile(self) -> None:
        """A body that is not compressed does not wait."""
        large = self.begin(self.large)
        self.assertEqual(self.post(frames(message(ONE, "1"))), (204, b""))
        self.assertEqual(self.finish(large), [204])
        self.assertEqual(self.one.messages[0], message("app", "1"))

    def test_bad(self) -> None:
        wires = [self.begin(self.large[:-1]), self.begin(gzip.compress(self.text * 3))]
        self.assertEqual(self.finish(*wires), [400, 413])
        self.assertEqual(self.one.calls, [])

    def test_repeated_meanwhile(self) -> None:
        """Of two that are under way at once, one is routed."""
        wires = [self.begin(self.large, Logplex_Frame_Id="A") for _ in range(2)]
        self.assertEqual(self.finish(*wires), [204, 204])
        self.assertEqual(len(self.one.messages), 100)

    def test_sender_leaves(self) -> None:
        """Then nothing is taken: the sender does not know better."""
        self.begin(self.large).close()
        self.assertEqual(self.finish(self.begin(self.large)), [204])
        self.assertEqual(len(self.one.messages), 100)

    def test_bug(self) -> None:
        """It is logged once, and answered."""
        wire = self.begin(self.large)
        self.patch(logs, "decode_body", lambda *_: 1 // 0)
        self.assertEqual(self.finish(wire), [500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RepetitionTests(LogsTests):
    """A request that was answered is not routed again."""

    def setUp(self) -> None:
        super().setUp()
        self.body = frames(message(ONE, "1"))

    def routed(self, authorization: str = WRITER, garbage: bytes = b"", code: int = 204) -> int:
        """Post with a frame id, and return the number of messages that were routed."""
        before = len(self.one.messages)
        answer = self.post(self.body + garbage, authorization, Logplex_Frame_Id="A")
        self.assertEqual(answer[0], code)
        return len(self.one.messages) - before

    def test_repeated(self) -> None:
        self.assertEqual((self.routed(), self.routed()), (1, 0))
        self.assertEqual(self.counters.repeated_requests, 1)

    def test_another_sender(self) -> None:
        self.assertEqual((self.routed(), self.routed(AS_ONE), self.routed(AS_ONE)), (1, 1, 0))

    def test_later(self) -> None:
        self.routed()
        self.clock.advance(self.limits.now.logs_frame_id_lifetime_s)
        self.wire = Wire(self.site)
        self.assertEqual(self.routed(), 1)

    def test_after_an_error(self) -> None:
        """A request that was not accepted may come again."""
        self.assertEqual(self.routed(garbage=b"x", code=400), 0)
        self.assertEqual(self.routed(), 1)

    def test_overlapping(self) -> None:
        """Of two requests that are under way at once, one is routed."""
        whole = request(
            "POST",
            "/logs",
            self.body,
            Authorization=WRITER,
            Content_Type=LOGPLEX_1,
            Logplex_Frame_Id="A",
        )
        other = Wire(self.site)
        self.wire.send(whole[:-5])
        other.send(whole[:-5])
        self.assertEqual(status(self.wire.send(whole[-5:])), 204)
        self.assertEqual(status(other.send(whole[-5:])), 204)
        self.assertEqual(len(self.one.messages), 1)

    def test_without_id(self) -> None:
        self.post(self.body)
        self.post(self.body)
        self.assertEqual(len(self.one.messages), 2)


class RefusalTests(LogsTests):
    """Refused on the head, in the contract's order, before anything of the body is there."""

    def head(self, method: str = "POST", path: str = "/logs", **headers: str) -> tuple[int, bytes]:
        wire = Wire(self.site)
        headers |= {"Content_Length": "10", "Expect": "100-continue"}
        answer = wire.send(request(method, path, None, **headers))
        wire.close()
        self.last = answer
        return status(answer), body_of(answer)

    def test_continue(self) -> None:
        self.assertEqual(self.head(Authorization=WRITER, Content_Type=LOGPLEX_1), (100, b""))

    def test_order(self) -> None:
        """Of all that is wrong the first is told."""
        self.registry.ready = False
        self.assertEqual(self.head("GET"), (503, b"SYSTEM BOOTING"))
        self.registry.ready = True
        self.rods.now = evolve(self.rods.now, deny_logs_ingress=True)
        self.assertEqual(self.head("GET"), (503, b"Ingress is denied"))
        self.rods.now = evolve(self.rods.now, deny_logs_ingress=False)
        self.assertEqual(self.head("GET")[0], 405)
        self.assertIn(b"Allow: POST\r\n", self.last)
        self.assertEqual(self.head()[0], 401)
        self.assertEqual(
            self.head(Authorization=basic("reader", "secret")),
            (403, b"Credential not permitted to write to any channel."),
        )
        self.assertEqual(self.head(Authorization=WRITER)[0], 415)

    def test_not_authorized(self) -> None:
        for wrong in (
            basic("writer", "wrong"),
            basic("nobody", "secret"),
            basic("token", ALIEN),
            basic("token", ""),
            basic("writer", ""),
            "Basic !!!",
            "Basic",
            "Bearer " + ALIEN,
            "",
        ):
            self.assertEqual(self.head(Authorization=wrong)[0], 401, wrong)
            self.assertIn(b"WWW-Authenticate: Basic realm=Logplex\r\n", self.last)

    def test_deleted_token(self) -> None:
        self.registry.changed([Delete(Token, ONE)])
        self.assertEqual(self.head(Authorization=AS_ONE)[0], 401)

    def test_types(self) -> None:
        for kind, code in (
            ("application/x-logplex-1", 204),
            ("Application/Logplex-1; charset=utf-8", 204),
            ("application/logplex-10", 415),
            ("text/plain", 415),
            ("", 415),
        ):
            self.wire = Wire(self.site)
            self.assertEqual(self.post(b"", kind=kind)[0], code, kind)
            self.wire.close()

    def test_encodings(self) -> None:
        for encoding, code in (("identity", 204), ("br", 415), ("gzip, gzip", 415)):
            self.wire = Wire(self.site)
            self.assertEqual(self.post(b"", Content_Encoding=encoding)[0], code, encoding)
            self.wire.close()

    def test_unknown_path(self) -> None:
        self.assertEqual(self.head(path="/other")[0], 404)


class HealthTests(LogsTests):
    def test_ready(self) -> None:
        answer = self.wire.send(request("GET", "/healthcheck"))
        self.assertEqual((status(answer), body_of(answer)), (200, b"OK"))

    def test_ready_while_denied(self) -> None:
        self.rods.now = evolve(self.rods.now, deny_logs_ingress=True)
        self.assertEqual(status(self.wire.send(request("GET", "/healthcheck"))), 200)

    def test_booting(self) -> None:
        self.registry.ready = False
        answer = self.wire.send(request("GET", "/healthcheck"))
        self.assertEqual((status(answer), body_of(answer)), (503, b"SYSTEM BOOTING"))

    def test_head(self) -> None:
        """Balancers ask so, every second or two: nothing is logged."""
        with capturedLogs() as events:
            answer = self.wire.send(request("HEAD", "/healthcheck"))
        self.assertEqual((status(answer), body_of(answer)), (200, b""))
        self.assertIn(b"Content-Length: 2\r\n", answer)
        self.assertEqual(events, [])

    def test_other_methods(self) -> None:
        answer = self.wire.send(request("POST", "/healthcheck", b""))
        self.assertEqual(status(answer), 405)
        self.assertIn(b"Allow: GET, HEAD\r\n", answer)
