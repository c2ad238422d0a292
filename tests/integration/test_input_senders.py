# SPDX-License-Identifier: Apache-2.0

"""Senders that people use, into a real node: which messages arrive, and how they read."""

from __future__ import annotations

import gzip
import logging
import logging.handlers
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node, Section
from tests.integration.npm import node_modules, run_script
from tests.integration.process import PATIENCE_S, Child, until
from tests.integration.receivers import octet_frames

_WINSTON_SYSLOG = """
const winston = require("winston");
const { Syslog } = require("winston-syslog");
const [port, token] = process.argv.slice(1);
const logger = winston.createLogger({
  levels: winston.config.syslog.levels,
  transports: [new Syslog({
    host: "127.0.0.1", port: +port, protocol: "tcp4", type: "5424", app_name: token,
    localhost: "h", eol: "\\n", format: winston.format.printf((info) => info.message),
  })],
});
for (const text of ["one", "query:\\n15 rows affected", "200 OK", "last"]) logger.info(text);
setTimeout(() => process.exit(0), 1000);
"""

_SYSLOG_CLIENT = """
const syslog = require("syslog-client");
const [port, token] = process.argv.slice(1);
const client = syslog.createClient("127.0.0.1", {
  port: +port, transport: syslog.Transport.Tcp, rfc3164: false, appName: token,
  syslogHostname: "h",
});
for (const text of ["one", "query:\\n54 <1 minute elapsed\\n7 lines", "200 OK"]) client.log(text);
client.log("last", {}, () => client.close());
"""

#: An HAProxy that logs its requests into a node over TCP, and passes connections on to it, with
#: their addresses in front. It is the balancer of clients on a Unix socket, too.
_HAPROXY = """
global
  log ring@counted format rfc5424 local0
  log ring@lines format rfc5424 local0
  log-tag {token}
defaults
  log global
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
ring counted
  format rfc5424
  maxlen 2000
  size 65536
  timeout connect 5s
  timeout server 10s
  server node 127.0.0.1:{plain} log-proto octet-count
ring lines
  format rfc5424
  maxlen 2000
  size 65536
  timeout connect 5s
  timeout server 10s
  server node 127.0.0.1:{plain}
frontend web
  mode http
  option httplog
  bind unix@{directory}/web.sock
  http-request return status 200
listen syslog
  bind unix@{directory}/syslog.sock
  server node 127.0.0.1:{syslog} send-proxy check inter 200ms
listen logs
  bind unix@{directory}/logs.sock
  server node 127.0.0.1:{logs} send-proxy check inter 200ms
"""


def find(program: str) -> str:
    """Return the path of a program; skip the test if it is not there."""
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        raise SkipTest(f"needs the program {program}")
    return found


def ask(path: Path, data: bytes) -> bytes:
    """Send bytes to a Unix socket, and return what comes back until the other side closes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
        return answer


class SenderTestCase(IntegrationTestCase):
    async def prepare(self, sections: Mapping[str, Section] | None = None) -> None:
        self.running: Node = await self.node(sections)
        self.token = await self.running.channel("shop")

    async def texts(self, count: int) -> list[bytes]:
        """Wait until the channel has this many messages, and return what each of them says."""
        texts: list[bytes] = []

        async def look() -> bool:
            answer = await self.running.request("GET", "/v3/channels/shop/logs?num=1000")
            texts[:] = [
                frame.split(b" ", 6)[6].rstrip(b"\n") for frame in octet_frames(answer.body)[0]
            ]
            return len(texts) >= count

        await until(look, f"the channel has {count} messages")
        return texts


class NodeJsTests(SenderTestCase):
    """Senders from npm: a line for each message, whatever stands in the message."""

    timeout = 150

    async def send(self, script: str, *packages: str) -> list[bytes]:
        directory = await node_modules(*packages)
        await self.prepare()
        await run_script(directory, script, str(self.running.ports["syslog"]), self.token)
        return await self.texts(4)

    async def test_winston_syslog(self) -> None:
        texts = await self.send(_WINSTON_SYSLOG, "winston@3.19.0", "winston-syslog@2.7.1")
        self.assertEqual(texts, [b"one", b"query:", b"200 OK", b"last"])

    async def test_syslog_client(self) -> None:
        texts = await self.send(_SYSLOG_CLIENT, "syslog-client@1.1.1")
        self.assertEqual(texts, [b"one", b"query:", b"200 OK", b"last"])


class PythonTests(SenderTestCase):
    """Python's ``SysLogHandler``, which ends each message with NUL."""

    async def test_tcp(self) -> None:
        await self.prepare()
        address = "127.0.0.1", self.running.ports["syslog"]
        handler = logging.handlers.SysLogHandler(address, socktype=socket.SOCK_STREAM)
        form = f"1 2026-01-02T03:04:05Z h {self.token} %(process)d - - %(message)s"
        handler.setFormatter(logging.Formatter(form))
        logger = logging.Logger("of this test")
        logger.addHandler(handler)
        self.addCleanup(handler.close)

        def log() -> None:
            for number in range(200):
                logger.info("number %d%s", number, "\n  of two lines" if number else "")

        await deferToThread(log)
        two_lines = [b"number %d\n  of two lines" % number for number in range(1, 200)]
        self.assertEqual(await self.texts(200), [b"number 0", *two_lines])


class HaproxyTests(SenderTestCase):
    """HAProxy as a sender, and in front of the node."""

    async def test_logs_and_connections(self) -> None:
        haproxy = find("haproxy")
        proxied = "haproxy:tcp:0:interface=127.0.0.1"
        await self.prepare({"listen": {"logs": proxied, "syslog": [proxied]}})
        plain: Node = await self.node()
        directory = self.directory()
        token = await plain.channel("requests")
        config = directory / "haproxy.cfg"
        # Paths of Unix sockets are short, and the names of tests are long.
        short = Path(os.path.relpath(directory))
        config.write_text(
            _HAPROXY.format(
                token=token,
                directory=short,
                plain=plain.ports["syslog"],
                syslog=self.running.ports["syslog"],
                logs=self.running.ports["logs"],
            )
        )
        child = Child.spawn([haproxy, "-db", "-f", config])
        self.addCleanup(child.end)

        async def is_up() -> bool:
            return (short / "logs.sock").exists()

        await until(is_up, "HAProxy listens")
        head = f"<13>1 2026-01-02T03:04:05Z h {self.token} web.1 - -"
        line = f"{head} by line\n".encode()
        await deferToThread(ask, short / "syslog.sock", line)
        message = f"{head} by request".encode()
        body = gzip.compress(b"%d %b" % (len(message), message))
        request = (
            f"POST /logs HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {self.token}\r\n"
            "Content-Type: application/logplex-1\r\nContent-Encoding: gzip\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        answer = await deferToThread(ask, short / "logs.sock", request.encode() + body)
        self.assertTrue(answer.startswith(b"HTTP/1.1 204 "), answer)
        self.assertEqual(sorted(await self.texts(2)), [b"by line", b"by request"])

        await deferToThread(ask, short / "web.sock", b"GET /path HTTP/1.0\r\n\r\n")
        self.running = plain
        self.token = token

        async def both() -> bool:
            answer = await plain.request("GET", "/v3/channels/requests/logs?num=1000")
            return answer.body.count(b'"GET /path HTTP/1.0"') == 2

        await until(both, "both logs of HAProxy have arrived")
        metrics = await plain.metrics()
        self.assertEqual(metrics["logplex_messages_malformed_total"], 0)
