# SPDX-License-Identifier: Apache-2.0

"""
The main job on one real node: logs in over TCP and HTTP, routed, pushed to HTTP drains.

Every message has a number; what comes out is compared with what went in, number by number.
"""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from shutil import which

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node, twistd
from tests.integration.process import Child, reactor, until, within
from tests.integration.receivers import Answer, HttpReceiver, refusal
from tests.integration.senders import (
    gzipped,
    line_framed,
    logger,
    numbered,
    numbers_in,
    octet_counted,
    post,
    send,
)

_L10 = re.compile(
    rb"<172>1 \S+ host heroku logplex - "
    rb"Error L10 \(output buffer overflow\): (\d+) messages dropped since \S+\.\n"
)


class LoggerTests(IntegrationTestCase):
    """util-linux ``logger``, in the ways in which people call it."""

    if which("logger") is None:
        skip = "logger (util-linux) is not installed"

    async def sent_by_logger(self, *arguments: str) -> list[bytes]:
        """Return what a drain gets of one call of ``logger`` with the messages 0 to 2."""
        receiver = self.receiver(HttpReceiver())
        node = await self.node()
        token = await node.channel("app-1", [receiver.url])
        lines = self.directory() / "lines"
        lines.write_text("number=0 first\nnumber=1 second\nnumber=2 third\n")
        await logger(node.ports["syslog"], token, "--file", str(lines), *arguments)
        frames = await receiver.received(3)
        self.assertEqual(numbers_in(frames), [0, 1, 2])
        return frames

    async def test_octet_counted(self) -> None:
        frames = await self.sent_by_logger("--rfc5424", "--octet-count")
        self.assertRegex(frames[0], rb"^<13>1 \S+ host app - - number=0 first$")

    async def test_line_framed(self) -> None:
        frames = await self.sent_by_logger("--rfc5424")
        self.assertRegex(frames[2], rb"^<13>1 \S+ host app - - number=2 third$")

    async def test_structured_data(self) -> None:
        frames = await self.sent_by_logger(
            "--rfc5424", "--octet-count", "--sd-id", "zoo@123", "--sd-param", r'tiger="hun\]gry"'
        )
        self.assertRegex(frames[1], rb"^<13>1 \S+ host app - - number=1 second$")

    async def test_without_time_and_host(self) -> None:
        frames = await self.sent_by_logger(
            "--rfc5424=notime,notq,nohost", "--octet-count", "--priority", "local3.err"
        )
        # The time of arrival stands in for the one that is missing.
        self.assertRegex(frames[0], rb"^<155>1 \d{4}-\S+ host app - - number=0 first$")

    async def test_process_and_message_id(self) -> None:
        frames = await self.sent_by_logger(
            "--rfc5424", "--octet-count", "--id=4711", "--msgid", "some-id"
        )
        self.assertRegex(frames[0], rb"^<13>1 \S+ host app 4711 - number=0 first$")


class DeliveryTests(IntegrationTestCase):
    """Every message: once, in order, to every drain of its channel and to no other."""

    async def test_many_channels_and_framings(self) -> None:
        """Five senders at once, octet-counted and by lines, in pieces of any size."""
        node = await self.node({"drains": {"buffer_messages": 10_000}})
        count = 4_000
        receivers = [self.receiver(HttpReceiver()) for _ in range(5)]
        tokens = [
            await node.channel(f"app-{index}", [receiver.url])
            for index, receiver in enumerate(receivers)
        ]
        streams = [
            (octet_counted if index % 2 else line_framed)(numbered(token, range(count)))
            for index, token in enumerate(tokens)
        ]
        await gatherResults(
            [
                Deferred.fromCoroutine(send(node.ports["syslog"], *_pieces(stream, 1_337 * index)))
                for index, stream in enumerate(streams, start=1)
            ]
        )
        for receiver in receivers:
            self.assertEqual(numbers_in(await receiver.received(count)), list(range(count)))
        await self.counted(node, "logplex_messages_received_total", 5 * count)
        await self.counted(node, "logplex_messages_malformed_total", 0)

    async def test_several_drains_of_a_channel(self) -> None:
        node = await self.node()
        receivers = [self.receiver(HttpReceiver()) for _ in range(3)]
        token = await node.channel("app-1", [receiver.url for receiver in receivers])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(500))))
        for receiver in receivers:
            self.assertEqual(numbers_in(await receiver.received(500)), list(range(500)))

    async def test_frames_as_drains_send_them(self) -> None:
        """The frame and the headers of a request, whole."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        [message] = numbered(token, [7])
        await send(node.ports["syslog"], octet_counted([message]))
        self.assertEqual(
            await receiver.received(1),
            [b"<134>1 2026-01-02T03:04:05.000006+00:00 host app web.1 - number=7 of some"],
        )
        [delivery] = receiver.deliveries
        self.assertRegex(delivery.headers["logplex-frame-id"], "^[0-9A-F]{32}$")
        self.assertRegex(delivery.headers["logplex-drain-token"], "^d[.][0-9a-f-]{36}$")
        self.assertRegex(delivery.headers["user-agent"], "^Logplex/")

    async def test_garbage_between_messages(self) -> None:
        """Garbage is counted, and costs no message."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        first, second = numbered(token, [0, 1])
        await send(
            node.ports["syslog"],
            octet_counted([first]) + b"\x16\x03\x01 no frame\r\n" + octet_counted([second]),
        )
        self.assertEqual(numbers_in(await receiver.received(2)), [0, 1])
        await self.counted(node, "logplex_messages_malformed_total", 1)

    async def test_unknown_token(self) -> None:
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        stranger = "t.00000000-0000-4000-8000-000000000000"
        await send(
            node.ports["syslog"],
            octet_counted(numbered(stranger, range(10)) + numbered(token, [11])),
        )
        self.assertEqual(numbers_in(await receiver.received(1)), [11])
        await self.counted(node, "logplex_messages_unknown_token_total", 10)
        self.assertNotIn(stranger, "\n".join(node.child.lines))

    async def test_failing_receiver_gets_the_same_batch_again(self) -> None:
        """Two answers of 500, then 200: the batch comes three times with one frame id."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        answers = iter([refusal(500), refusal(503)])
        receiver.script = lambda _: next(answers, Answer())
        token = await node.channel("app-1", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, [0])))
        self.assertEqual(numbers_in(await receiver.received(1)), [0])
        ids = [each.headers["logplex-frame-id"] for each in receiver.deliveries]
        self.assertEqual(ids, [ids[0]] * 3)


class PostTests(IntegrationTestCase):
    """``POST /logs`` by a client that compresses and sends chunks."""

    async def test_chunked_gzip(self) -> None:
        """Twenty requests of a hundred messages, one after another."""
        node = await self.node({"drains": {"buffer_messages": 2_000}})
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        for start in range(0, 2_000, 100):
            frames = octet_counted(numbered("token", range(start, start + 100)))
            status = await post(
                node.ports["logs"],
                gzipped([frames]),
                ("token", token),
                {"Content-Encoding": "gzip", "Logplex-Msg-Count": "100"},
            )
            self.assertEqual(status, 204)
        frames_out = await receiver.received(2_000)
        self.assertEqual(numbers_in(frames_out), list(range(2_000)))
        self.assertIn(b" host token web.1 - ", frames_out[0])

    async def test_tokens_of_the_messages(self) -> None:
        """A credential that may write everywhere: each message says where it belongs."""
        node = await self.node()
        receivers = [self.receiver(HttpReceiver()) for _ in range(2)]
        tokens = [
            await node.channel(f"app-{index}", [receiver.url], name=f"name-{index}")
            for index, receiver in enumerate(receivers)
        ]
        messages = [numbered(tokens[n % 2], [n])[0] for n in range(300)]
        body = (octet_counted([message]) for message in messages)
        status = await post(node.ports["logs"], body, CREDENTIAL, {})
        self.assertEqual(status, 204)
        for index, receiver in enumerate(receivers):
            frames = await receiver.received(150)
            self.assertEqual(numbers_in(frames), list(range(index, 300, 2)))
            self.assertIn(f" host name-{index} web.1 - ".encode(), frames[0])

    async def test_wrong_password(self) -> None:
        node = await self.node()
        status = await post(node.ports["logs"], [b"0"], (CREDENTIAL[0], "guess"), {})
        self.assertEqual(status, 401)


class OutageTests(IntegrationTestCase):
    """A receiver that goes away and comes back."""

    async def test_receiver_down_for_five_seconds(self) -> None:
        """It gets all that the buffer held, in order, and before it the exact count of the rest."""
        node = await self.node({"drains": {"shared_buffer_bytes": 0}})
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, [0])))
        await receiver.received(1)
        await self.counted(node, "logplex_drain_messages_delivered_total", 1)
        await receiver.down()
        count, held = 3_000, 1_024
        await send(node.ports["syslog"], octet_counted(numbered(token, range(1, count + 1))))
        await self.counted(node, "logplex_messages_processed_total", count + 1)
        await deferLater(reactor, 5.0)
        receiver.up()
        _, notice, *frames = await receiver.received(1 + 1 + held)
        told = _L10.fullmatch(notice)
        assert told, notice
        self.assertEqual(int(told[1]), count - held)
        self.assertEqual(numbers_in(frames), list(range(count - held + 1, count + 1)))

    async def test_new_messages_after_the_outage(self) -> None:
        """Once it is back, everything flows as before, without another notice."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        await receiver.down()
        await send(node.ports["syslog"], octet_counted(numbered(token, range(100))))
        receiver.up()
        await receiver.received(100)
        await send(node.ports["syslog"], octet_counted(numbered(token, range(100, 200))))
        self.assertEqual(numbers_in(await receiver.received(200)), list(range(200)))


class LifecycleTests(IntegrationTestCase):
    """A node starts, ends, and starts again."""

    async def test_configuration_survives_sigkill(self) -> None:
        """Killed the moment the API has answered: the restarted node knows what it answered."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        node.child.signal(signal.SIGKILL)
        self.assertEqual((await within(node.child.ended(), "it dies")).status, -signal.SIGKILL)
        await node.start()
        shown = (await node.request("GET", "/v3/channels/app-1")).json()
        self.assertEqual(shown["tokens"], {"app": token})
        self.assertEqual([drain["url"] for drain in shown["drains"]], [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(10))))
        self.assertEqual(numbers_in(await receiver.received(10)), list(range(10)))

    async def test_many_restarts(self) -> None:
        """A change before each of five kills; all of them are there in the end."""
        node = await self.node()
        for index in range(5):
            await node.channel(f"app-{index}")
            await node.kill()
            await node.start()
        for index in range(5):
            answer = await node.request("GET", f"/v3/channels/app-{index}")
            self.assertEqual(answer.status, 200)

    async def test_sigterm_flushes(self) -> None:
        """Messages that the drains hold at SIGTERM are delivered before the node ends."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        receiver.script = lambda _: Answer(delay_s=0.2)
        token = await node.channel("app-1", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(1_000))))
        ended = await node.terminate()
        self.assertEqual(ended.status, -signal.SIGTERM)
        self.assertEqual(numbers_in(receiver.frames), list(range(1_000)))
        self.assertNotIn("Traceback", ended.output)

    async def test_sigterm_waits_for_no_dead_receiver(self) -> None:
        """The flush has a time limit, even with a receiver that never answers."""
        node = await self.node({"drains": {"flush_s": 0.5}})
        receiver = self.receiver(HttpReceiver())
        receiver.script = lambda _: Answer(raw=b"", keeps=False)
        token = await node.channel("app-1", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(10))))
        ended = await node.terminate(10.0)
        self.assertEqual(ended.status, -signal.SIGTERM)

    async def test_sighup(self) -> None:
        """SIGHUP reads the settings again; it ends no connection and loses no message."""
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        await send(node.ports["syslog"], octet_counted(numbered(token, range(10))))
        node.configure({"limits": {"syslog_connections": 5_000}})
        node.child.signal(signal.SIGHUP)
        await within(node.child.seen(r"SIGHUP: .*syslog_connections"), "it tells what changed")
        await send(node.ports["syslog"], octet_counted(numbered(token, range(10, 20))))
        self.assertEqual(numbers_in(await receiver.received(20)), list(range(20)))

    async def test_level_of_the_log(self) -> None:
        """SIGHUP makes a node quieter, and talkative again."""
        node = await self.node()
        node.configure({"log": {"level": "error"}, "rods": {"deny_tail_sessions": True}})
        node.child.signal(signal.SIGHUP)

        async def is_obeyed() -> bool:
            rods = (await node.request("GET", "/v3/rods")).json()["rods"]
            return bool(rods["deny_tail_sessions"])

        await until(is_obeyed, "the configuration was read again")
        await node.channel("in-silence")
        node.configure({"log": {"level": "info"}})
        node.child.signal(signal.SIGHUP)
        await within(node.child.seen(r"SIGHUP: \[log\] level"), "it tells what changed")
        await node.channel("aloud")
        await within(node.child.seen("audit: .*aloud"), "it tells of changes")
        self.assertEqual([line for line in node.child.lines if "in-silence" in line], [])


class RefusalTests(IntegrationTestCase):
    """A node that cannot run says why in one line, and ends with status 1."""

    async def refused(self, config_file: Path, *more: str) -> str:
        """The one line that a start ends with."""
        child = Child.spawn(twistd("--config", config_file, *more), self.directory())
        self.addCleanup(child.end)
        ended = await within(child.ended(), "it ends")
        self.assertEqual(ended.status, 1, ended)
        self.assertNotIn("Traceback", ended.output)
        [line] = [line for line in child.lines if "logplex: " in line]
        return line

    async def test_port_in_use(self) -> None:
        occupied = socket.socket()
        self.addCleanup(occupied.close)
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        node = Node(self.directory(), {"listen": {"syslog": f"tcp:{port}:interface=127.0.0.1"}})
        line = await self.refused(node.config_file)
        self.assertIn(str(port), line)

    async def test_no_port(self) -> None:
        """Whatever the log tells of what happens otherwise."""
        node = Node(
            self.directory(), {"listen": {"syslog": "stdio:"}, "log": {"level": "critical"}}
        )
        line = await self.refused(node.config_file)
        self.assertIn("[listen] syslog = 'stdio:': it does not open a port", line)

    async def test_unknown_option(self) -> None:
        node = Node(self.directory(), {"limits": {"syslog_conections": 1}})
        line = await self.refused(node.config_file)
        self.assertIn(f"logplex: {node.config_file}: [limits] syslog_conections: ", line)

    async def test_wrong_type(self) -> None:
        node = Node(self.directory(), {"drains": {"buffer_messages": "many"}})
        line = await self.refused(node.config_file)
        self.assertIn(f"logplex: {node.config_file}: [drains] buffer_messages: ", line)

    async def test_no_such_file(self) -> None:
        line = await self.refused(self.directory() / "missing.toml")
        self.assertIn("missing.toml", line)

    async def test_bad_configuration_before_daemonising(self) -> None:
        """Without ``--nodaemon`` too the mistake is told to the terminal and by the status."""
        node = Node(self.directory(), {"limits": {"syslog_conections": 1}})
        command = [twistd()[0], "logplex", "--config", node.config_file]
        child = Child.spawn(command, self.directory())
        self.addCleanup(child.end)
        ended = await within(child.ended(), "it ends")
        self.assertEqual(ended.status, 1)
        self.assertIn("[limits] syslog_conections: ", ended.output)

    async def test_second_node_on_one_database(self) -> None:
        """The database belongs to one process; the second one leaves the first alone."""
        node = await self.node()
        second = Node(
            self.directory(), {"store": {"url": f"sqlite:{node.directory / 'logplex.db'}"}}
        )
        line = await self.refused(second.config_file)
        self.assertIn("logplex.db", line)
        self.assertEqual((await node.request("PUT", "/v3/channels/app-1", {})).status, 201)


class MemoryTests(IntegrationTestCase):
    """Memory stays bounded; the long form of this is in ``bench``."""

    timeout = 120

    async def test_flat_under_load(self) -> None:
        """After the buffers are full, more messages to a dead receiver need no more memory."""
        node = await self.node(
            {"spool": {"max_bytes": 1_000_000}, "drains": {"shared_buffer_bytes": 0}}
        )
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        await receiver.down()
        sent = 0

        async def rss_after(count: int) -> int:
            nonlocal sent
            messages = octet_counted(numbered(token, range(10_000)))
            for _ in range(count // 10_000):
                await send(node.ports["syslog"], messages)
            sent += count
            await self.counted(node, "logplex_messages_received_total", sent)
            return _rss_bytes(node.child.pid)

        full = await rss_after(50_000)
        later = await rss_after(200_000)
        self.assertLess(later - full, 2_000_000)

    async def test_garbage_without_end(self) -> None:
        """Bytes that never become a frame are discarded, not collected."""
        node = await self.node()
        before = _rss_bytes(node.child.pid)
        await send(node.ports["syslog"], *[b"x" * 1_000_000] * 30)
        self.assertLess(_rss_bytes(node.child.pid) - before, 10_000_000)


def _pieces(stream: bytes, size: int) -> list[bytes]:
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def _rss_bytes(pid: int) -> int:
    """The resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return 1_024 * int(found[1])
