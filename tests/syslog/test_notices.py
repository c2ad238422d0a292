# SPDX-License-Identifier: Apache-2.0

"""The notices, byte for byte."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.syslog import notices
from logplex.syslog.bodies import decode_body
from logplex.syslog.inner import tail_lines

NOW = 1_795_337_285.472588
AT = b"2026-11-22T08:48:05.472588+00:00"
SINCE = NOW - 65.25
SINCE_AT = b"2026-11-22T08:47:00.222588+00:00"


class NoticeTests(SynchronousTestCase):
    def test_timestamp(self) -> None:
        self.assertEqual(notices.timestamp(NOW), AT)
        self.assertEqual(notices.timestamp(0), b"1970-01-01T00:00:00.000000+00:00")

    def test_l10_http(self) -> None:
        message = (
            b"<172>1 " + AT + b" host heroku logplex - Error L10 (output buffer overflow): "
            b"3 messages dropped since " + SINCE_AT + b".\n"
        )
        frame = notices.l10_http_frame(NOW, 3, SINCE)
        self.assertEqual(frame, b"%d %b" % (len(message), message))
        self.assertEqual(decode_body(frame, 1), ([message], 0, 0))

    def test_l10_syslog(self) -> None:
        message = (
            b"<172>1 " + AT + b" d.1 heroku logplex - - Error L10 (output buffer overflow): "
            b"3 messages dropped since " + SINCE_AT + b"."
        )
        frame = notices.l10_syslog_frame(NOW, b"d.1", 3, SINCE)
        self.assertEqual(frame, b"%d %b\n" % (len(message) + 1, message))
        self.assertEqual(notices.l10_datagram(NOW, b"d.1", 3, SINCE), message)

    def shown(self, message: bytes) -> bytes | None:
        (line,) = tail_lines([message])
        return line

    def test_l10_in_the_channel(self) -> None:
        self.assertEqual(
            self.shown(notices.l10_message(NOW, b"d.1", 3, SINCE)),
            AT + b" heroku[logplex]: Error L10 (output buffer overflow): "
            b"drain 'd.1' dropped 3 messages since " + SINCE_AT + b".\n",
        )

    def test_l11(self) -> None:
        self.assertEqual(
            notices.l11_line(NOW, 3, SINCE),
            AT + b" logplex[1]: Error L11 (Tail buffer overflow) -> "
            b"This tail session dropped 3 messages since " + SINCE_AT + b".\n",
        )

    def test_l14(self) -> None:
        self.assertEqual(
            self.shown(notices.l14_message(NOW, "self-signed", "syslog+tls", "example.com", 6514)),
            AT + b" heroku[logplex]: Error L14 (certificate validation): "
            b'error="self-signed" uri="syslog+tls://example.com:6514"\n',
        )
        self.assertIn(
            b'uri="https://[::1]:443"', notices.l14_message(NOW, "no", "https", "::1", 443)
        )

    @settings(deadline=None)
    @given(st.text(st.characters()))
    def test_l14_reason_forges_nothing(self, reason: str) -> None:
        message = notices.l14_message(NOW, reason, "https", "example.com", 443)
        self.assertEqual(message.count(b'"'), 4)
        self.assertNotIn(b"\n", message)

    def test_l15(self) -> None:
        self.assertEqual(
            notices.l15_line(NOW),
            AT + b" logplex[1]: Error L15 (Tail buffer temporarily unavailable)\n",
        )

    def test_l20(self) -> None:
        self.assertEqual(
            notices.l20_line(NOW),
            AT + b" Logplex: Error L20 (Tail sessions forbidden) "
            b"Tail sessions for this app are forbidden due to log volume.\n",
        )
