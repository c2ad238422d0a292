# SPDX-License-Identifier: Apache-2.0

"""HTTP drains against receivers that behave, and receivers that do not."""

from __future__ import annotations

import trustme
from attrs import evolve
from twisted.internet.protocol import Factory, Protocol

from logplex.settings import DrainSettings
from tests.integration.drains import DrainsTestCase, listen_tls, numbers
from tests.integration.process import reactor
from tests.integration.receivers import Answer, HttpReceiver, refusal

#: Times that a test can wait for.
QUICK = DrainSettings(
    shared_buffer_bytes=0,
    http_tries=3,
    http_answer_timeout_s=0.3,
    http_retry_delays_s=(0.02, 0.05),
    http_answer_bytes=10_000,
)


class Greeter(Protocol):
    """Does not speak TLS."""

    def connectionMade(self) -> None:
        self.transport.write(b"220 mail.example ESMTP\r\n")  # type: ignore[union-attr]


class HttpTests(DrainsTestCase):
    options = QUICK

    def setUp(self) -> None:
        super().setUp()
        self.http = self.receiver(HttpReceiver())

    def script(self, *answers: Answer) -> None:
        """Answer the first requests so, the others with 200."""
        waiting = list(answers)
        self.http.script = lambda delivery: waiting.pop(0) if waiting else Answer()

    def frame_ids(self) -> list[str]:
        return [each.headers["logplex-frame-id"] for each in self.http.deliveries]

    async def test_in_order(self) -> None:
        """Ten thousand messages arrive once, in order, over one connection."""
        drain = self.drain(self.http.url)
        for first in range(0, 10_000, 500):
            self.push(drain, first, 500)
            await self.http.received(first + 500)
        self.assertEqual(numbers(self.http.frames), list(range(10_000)))
        self.assertEqual(self.http.connects, 1)
        self.assertEqual((await self.settled(drain)).dropped, 0)

    async def test_down_and_up(self) -> None:
        """A receiver that was down gets all that the buffer held, and the exact count of the
        rest first."""
        drain = self.drain(self.http.url)
        self.push(drain, 0, 10)
        await self.settled(drain)
        await self.http.down()
        await self.in_state(drain, "resting")
        for first in range(10, 3_010, 100):
            self.push(drain, first, 100)
        await self.failed(drain)
        self.http.up()
        await self.settled(drain)
        self.assertEqual(numbers(self.http.frames), [*range(10), *range(1_986, 3_010)])
        [notice] = [each for each in self.http.frames if b"L10" in each]
        self.assertIn(b": 1976 messages dropped since 20", notice)
        self.assertIs(self.http.frames[10], notice)

    async def test_refusals(self) -> None:
        """Every status class that is no success, with and without the end of the try."""
        for status, lost in ((301, False), (404, True), (429, False), (500, False), (503, False)):
            drain = self.drain(self.http.url)
            self.script(refusal(status))
            self.push(drain, 0, 3)
            settled = await self.settled(drain)
            self.assertEqual((settled.delivered, settled.dropped), (0, 3) if lost else (3, 0))

    async def test_retries(self) -> None:
        """A repeated batch has the same id and the same frames, over a new connection."""
        drain = self.drain(self.http.url)
        self.script(refusal(500), Answer(b"", keeps=False))
        self.push(drain, 0, 3)
        await self.settled(drain)
        self.assertEqual(len(self.http.deliveries), 3)
        self.assertEqual(len(set(self.frame_ids())), 1)
        self.assertEqual(self.http.connects, 3)
        self.assertEqual(numbers(self.http.frames), [0, 1, 2])

    async def test_gives_up(self) -> None:
        drain = self.drain(self.http.url)
        self.script(*[refusal(500)] * 3)
        self.push(drain, 0, 3)
        self.assertEqual((await self.settled(drain)).dropped, 3)
        self.push(drain, 3, 1)
        await self.settled(drain)
        self.assertIn(b"3 messages dropped", self.http.frames[0])

    async def test_understood(self) -> None:
        """Answers in every form that HTTP/1.1 has: nothing is sent twice."""
        for raw in (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello",
        ):
            drain = self.drain(self.http.url)
            before = len(self.http.deliveries)
            self.script(Answer(raw), Answer(raw))
            self.push(drain, 0, 1)
            await self.settled(drain)
            self.push(drain, 1, 1)
            self.assertEqual((await self.settled(drain)).delivered, 2)
            self.assertEqual(len(self.http.deliveries), before + 2)

    async def test_closing(self) -> None:
        """Answers that end with the connection."""
        for raw in (
            b"HTTP/1.0 200 OK\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        ):
            drain = self.drain(self.http.url)
            before = self.http.connects
            self.script(Answer(raw, close=True))
            self.push(drain, 0, 1)
            await self.settled(drain)
            self.push(drain, 1, 1)
            self.assertEqual((await self.settled(drain)).delivered, 2)
            self.assertEqual(self.http.connects, before + 2)

    async def test_half_answers(self) -> None:
        """An answer that breaks off in its head is a failed try, in its body it is a success."""
        drain = self.drain(self.http.url)
        self.script(Answer(b"HTTP/1.1 200 O", close=True, keeps=False))
        self.push(drain, 0, 1)
        await self.settled(drain)
        self.assertEqual(len(self.http.deliveries), 2)
        self.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", close=True))
        self.push(drain, 1, 1)
        await self.settled(drain)
        self.assertEqual(len(self.http.deliveries), 3)

    async def test_endless_bodies(self) -> None:
        """An endless answer is not read without end."""
        drain = self.drain(self.http.url)
        self.script(Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 50_000))
        self.push(drain, 0, 1)
        self.assertEqual((await self.settled(drain)).delivered, 1)
        self.push(drain, 1, 1)
        self.assertEqual((await self.settled(drain)).delivered, 2)
        self.assertEqual(self.http.connects, 2)

    async def test_delay(self) -> None:
        """A slow answer is an answer, as long as it comes in time."""
        drain = self.drain(self.http.url)
        self.script(Answer(delay_s=0.15))
        self.push(drain, 0, 1)
        self.assertEqual((await self.settled(drain)).delivered, 1)
        self.assertEqual(len(self.http.deliveries), 1)

    async def test_idle_close(self) -> None:
        """A receiver that closes its idle connections costs nothing."""
        drain = self.drain(self.http.url)
        for number in range(5):
            self.push(drain, number, 1)
            await self.http.received(number + 1)
            for connection in list(self.http.connections):
                connection.transport.loseConnection()  # type: ignore[union-attr]
        self.assertEqual((await self.settled(drain)).delivered, 5)
        self.assertIsNone(self.status(drain).last_error)
        self.assertEqual(numbers(self.http.frames), list(range(5)))

    async def test_user_info(self) -> None:
        drain = self.drain(self.http.url.replace("//", "//user:pa%20ss@"))
        self.push(drain, 0, 1)
        await self.settled(drain)
        [delivery] = self.http.deliveries
        self.assertEqual(delivery.headers["authorization"], "Basic dXNlcjpwYSBzcw==")

    async def test_moves_under_load(self) -> None:
        """Between two receivers every message arrives once, and each gets its own in order."""
        other = self.receiver(HttpReceiver())
        drain = self.drain(self.http.url)
        for turn in range(20):
            self.push(drain, turn * 100, 100)
            self.move(drain, (other if turn % 2 else self.http).url)
            if turn % 5 == 0:
                await self.settled(drain)
        await self.settled(drain)
        mine, others = numbers(self.http.frames), numbers(other.frames)
        self.assertEqual(sorted(mine + others), list(range(2_000)))
        self.assertEqual((mine, others), (sorted(mine), sorted(others)))

    async def test_deleted(self) -> None:
        """A drain that is deleted delivers what it holds."""
        drain = self.drain(self.http.url)
        self.push(drain, 0, 1_000)
        self.delete(drain)
        await self.http.received(1_000)


class DeniedTests(DrainsTestCase):
    """A receiver in a denied network gets no connection, whatever it is called."""

    options = evolve(QUICK, deny_networks=("127.0.0.0/8", "::1/128"))

    async def test_denied(self) -> None:
        http = self.receiver(HttpReceiver())
        for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "[::]"):
            drain = self.drain(f"http://{host}:{http.port}/")
            self.push(drain, 0, 1)
            self.assertIn("may not connect", await self.failed(drain))
            self.assertIn(b"Error (drain destination denied)", self.told[-1])
            tested = await self.drains.test(drain.id)
            self.assertIn("may not connect", str(tested.error))
        self.assertEqual(http.connects, 0)


class TlsTests(DrainsTestCase):
    """Receivers with valid certificates, and receivers without."""

    def setUp(self) -> None:
        self.authority = trustme.CA()
        file = self.directory() / "ca.pem"
        self.authority.cert_pem.write_to_path(str(file))
        self.options = evolve(QUICK, ca_file=str(file))
        super().setUp()
        self.http = HttpReceiver()
        self.addCleanup(self.http.close)

    def url(self, certificate: trustme.LeafCert, host: str = "localhost") -> str:
        """A receiver that shows this certificate."""
        port = listen_tls(self, certificate, Factory.forProtocol(self.http.protocol))
        return f"https://{host}:{port}/"

    async def assert_rejected(self, url: str, reason: str) -> None:
        drain = self.drain(url)
        self.push(drain, 0, 1)
        self.assertIn(reason, await self.failed(drain))
        self.assertIn(b"Error L14 (certificate validation): ", self.told[-1])
        self.assertIn(reason.encode(), self.told[-1])
        self.assertEqual(self.http.deliveries, [])

    async def test_good(self) -> None:
        drain = self.drain(self.url(self.authority.issue_cert("localhost")))
        for first in range(0, 3_000, 1_000):
            self.push(drain, first, 1_000, "x" * 200)
            await self.http.received(first + 1_000)
        self.assertEqual(numbers(self.http.frames), list(range(3_000)))
        self.assertEqual(self.http.connects, 1)
        self.assertEqual(self.told, [])

    async def test_address(self) -> None:
        drain = self.drain(self.url(self.authority.issue_cert("127.0.0.1"), "127.0.0.1"))
        self.push(drain, 0, 1)
        self.assertEqual((await self.settled(drain)).delivered, 1)

    async def test_name(self) -> None:
        await self.assert_rejected(
            self.url(self.authority.issue_cert("other.example")), "another host name"
        )

    async def test_authority(self) -> None:
        await self.assert_rejected(
            self.url(trustme.CA().issue_cert("localhost")), "unable to get local issuer"
        )

    async def test_insecure(self) -> None:
        """Without verification any certificate will do, for this drain."""
        drain = self.drain(self.url(trustme.CA().issue_cert("other.example")) + "#insecure")
        self.push(drain, 0, 1)
        self.assertEqual((await self.settled(drain)).delivered, 1)

    async def test_no_tls(self) -> None:
        """A receiver that does not speak TLS is a failure like others, and no L14."""
        port = reactor.listenTCP(0, Factory.forProtocol(Greeter), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        drain = self.drain(f"https://localhost:{port.getHost().port}/")
        self.push(drain, 0, 1)
        self.assertIn("no connection: TLS: wrong version number", await self.failed(drain))
        [notice] = self.told
        self.assertIn(b"Error L31", notice)
