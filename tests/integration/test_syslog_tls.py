# SPDX-License-Identifier: Apache-2.0

"""
Syslog over TLS on a real node, with senders whose TLS is not Twisted's.
"""

from __future__ import annotations

import signal
import socket
import ssl
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.threads import deferToThread

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import PATIENCE_S, within
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import numbered, numbers_in, octet_counted

CA = trustme.CA()
HOST = "logs.example.com"


def write_certificate(directory: Path, name: str) -> dict[str, str]:
    """
    Put a new certificate into its files.

    :param name: its common name.
    :return: the options of ``[tls]`` that name the files.
    """
    leaf = CA.issue_cert(HOST, common_name=name)
    certificate, key = directory / "cert.pem", directory / "key.pem"
    certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key.write_bytes(leaf.private_key_pem.bytes())
    return {"certificate_file": str(certificate), "key_file": str(key)}


def send_over_tls(port: int, data: bytes) -> str:
    """Connect, send, and close; the common name of the certificate that was shown."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        connection.sendall(data)
        shown: Any = connection.getpeercert()
    return str({key: value for ((key, value),) in shown["subject"]}["commonName"])


def wait_for_end(port: int, data: bytes) -> bytes:
    """Connect, send this, and wait until the node closes; what it has said."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(data)
        said = b""
        try:
            while piece := connection.recv(65_536):
                said += piece
        except ConnectionResetError:
            pass
        return said


class SyslogTlsTests(IntegrationTestCase):
    async def start(self, **limits: float) -> Node:
        """A node that listens with TLS."""
        self.files = self.directory()
        return await self.node(
            {
                "listen": {"syslog_tls": "tcp:0:interface=127.0.0.1"},
                "tls": write_certificate(self.files, "first"),
                "limits": limits,
            }
        )

    async def test_messages(self) -> None:
        node = await self.start()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("app-1", [receiver.url])
        data = octet_counted(numbered(token, range(1_000)))
        await deferToThread(send_over_tls, node.ports["syslog_tls"], data)
        self.assertEqual(numbers_in(await receiver.received(1_000)), list(range(1_000)))

    async def test_certificate_is_renewed(self) -> None:
        """SIGHUP, and new connections see the new one."""
        node = await self.start()
        port = node.ports["syslog_tls"]
        self.assertEqual(await deferToThread(send_over_tls, port, b""), "first")
        write_certificate(self.files, "second")
        node.configure({"rods": {"disable_firehose": True}})
        node.child.signal(signal.SIGHUP)
        await within(node.child.seen("SIGHUP: .*disable_firehose"), "it has read it again")
        self.assertEqual(await deferToThread(send_over_tls, port, b""), "second")

    async def test_handshake_that_does_not_end(self) -> None:
        """A handshake may never begin, or stop in the middle: the record says 512 bytes."""
        node = await self.start(syslog_handshake_timeout_s=0.2)
        for begun in (b"", b"\x16\x03\x01\x02\x00\x01"):
            waiting = deferToThread(wait_for_end, node.ports["syslog_tls"], begun)
            self.assertEqual(await within(waiting, "the node closes"), b"")
        await self.counted(node, 'logplex_connections{listener="syslog"}', 0)
        await within(node.child.seen("the TLS handshake timed out"), "it is told")

    async def test_no_tls(self) -> None:
        """A sender that speaks plain syslog is not kept."""
        node = await self.start()
        token = await node.channel("app-1")
        data = octet_counted(numbered(token, range(1)))
        waiting = deferToThread(wait_for_end, node.ports["syslog_tls"], data)
        await within(waiting, "the node closes")
        await within(node.child.seen("TLS failed"), "it is told")
