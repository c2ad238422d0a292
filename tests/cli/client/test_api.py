# SPDX-License-Identifier: Apache-2.0

"""A client's troubles, in words."""

from __future__ import annotations

from typing import Any, cast

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IAgent

from logplex.cli.client.api import TIMEOUT_S, Asker, failure_of
from logplex.cli.failures import NotFound, Rejected, Unreachable

URL = "http://user:hidden@host:1/sessions/hidden?hidden"


class Client:
    """A client that answers every request with the same Deferred."""

    def __init__(self, answer: Deferred[Any]) -> None:
        self.answer = answer

    def request(self, *args: object, **kwargs: object) -> Deferred[Any]:
        return self.answer


class AskTests(SynchronousTestCase):
    """A request without answer: the reason is shown, and of the URL only the server."""

    def setUp(self) -> None:
        self.clock = Clock()

    def ask(self, answer: Deferred[Any]) -> Deferred[Any]:
        client = cast(IAgent, Client(answer))
        return Deferred.fromCoroutine(Asker(client, self.clock).ask("GET", URL, {}))

    def why(self, error: Exception) -> str:
        failed: Unreachable = self.failureResultOf(self.ask(fail(error)), Unreachable).value
        return failed.message

    def test_reasons(self) -> None:
        tls = SSLError([("SSL routines", "", "certificate verify failed")])
        wrapped = ResponseNeverReceived([Failure(tls)])
        for error, why in (
            (OSError(111, "Connection refused"), "[Errno 111] Connection refused"),
            (VerificationError(errors=[]), "its certificate is for another name"),
            (SSLError(), "TLS fails"),
            (ResponseNeverReceived([]), "[]"),
            (wrapped, "certificate verify failed"),
            (ValueError(), "ValueError"),
        ):
            self.assertEqual(f"http://host:1 cannot be reached: {why}", self.why(error))

    def test_silence(self) -> None:
        asking = self.ask(Deferred())
        self.clock.advance(TIMEOUT_S)
        failed = self.failureResultOf(asking, Unreachable).value
        self.assertEqual("http://host:1 does not answer within 30 s", failed.message)

    def test_cancelled(self) -> None:
        """A cancelled request ends with CancelledError, whatever error the client raises."""
        answer: Deferred[Any] = Deferred(lambda d: d.errback(ResponseNeverReceived([])))
        asking = self.ask(answer)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)


class FailureTests(SynchronousTestCase):
    """The failures that HTTP statuses mean."""

    def test_kinds(self) -> None:
        for status, kind in (
            (400, Rejected),
            (401, Rejected),
            (403, Rejected),
            (404, NotFound),
            (409, Rejected),
            (422, Rejected),
            (429, Unreachable),
            (500, Unreachable),
            (503, Unreachable),
            (302, Rejected),
        ):
            self.assertIs(kind, type(failure_of(status, "", True)), status)

    def test_without_words(self) -> None:
        self.assertEqual("the server answered 302", failure_of(302, "", True).message)

    def test_the_words_of_a_server_do_no_harm_on_a_terminal(self) -> None:
        why = "\x1b]0;title\x07 no\u202e\nlogplex: all is well"
        shown = "\ufffd]0;title\ufffd no<U+202E>\n    logplex: all is well"
        self.assertEqual(shown, failure_of(409, why, True).message)
