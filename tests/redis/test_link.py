# SPDX-License-Identifier: Apache-2.0

"""
The link to a Redis that a test plays itself, byte by byte.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from logplex.interfaces import StoreAway
from logplex.redis.address import RedisAddress
from logplex.redis.connection import Refused
from logplex.redis.link import LinkBounds, RedisLink


def command(*arguments: bytes) -> bytes:
    """As Redis gets it."""
    parts = [b"*%d\r\n" % len(arguments)]
    parts += [b"$%d\r\n%s\r\n" % (len(each), each) for each in arguments]
    return b"".join(parts)


#: The last commands before a connection can be used, and the answers of a primary.
GREETING = command(b"PING") + command(b"ROLE")
GREETED = b"+PONG\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
REPLICA = b"*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:6379\r\n$9\r\nconnected\r\n:0\r\n"


@implementer(IStreamClientEndpoint)
class ScriptedEndpoint:
    """Refuses connections, or makes them in memory; the newest is in ``server``."""

    def __init__(self) -> None:
        self.attempts = 0
        self.refuses = False
        self.server: Any = None
        self.hanging: Deferred[Any] | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        self.attempts += 1
        if self.refuses:
            return fail(ConnectionRefusedError())
        protocol: Any = protocolFactory.buildProtocol(None)  # type: ignore[arg-type]
        self.server = StringTransportWithDisconnection()
        self.server.protocol = protocol
        protocol.makeConnection(self.server)
        answer: Deferred[Any] = Deferred()
        answer.callback(protocol)
        return answer

    def says(self, data: bytes) -> None:
        self.server.protocol.dataReceived(data)

    def heard(self) -> bytes:
        """Return what has arrived since the last call."""
        data: bytes = self.server.value()
        self.server.clear()
        return data


class RedisLinkTests(SynchronousTestCase):
    """The promises of a link to its users."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.endpoint = ScriptedEndpoint()
        self.events: list[Any] = []

    def link(self, address: RedisAddress | None = None, **more: Any) -> RedisLink:
        link = RedisLink(
            address or RedisAddress("redis.example"),
            self.endpoint,
            self.clock,
            lambda: 1.0,
            name="test",
            up=lambda: self.events.append("up"),
            down=lambda: self.events.append("down"),
            **more,
        )
        link.start()
        self.addCleanup(link.stop)
        return link

    def connected(self, **more: Any) -> RedisLink:
        link = self.link(**more)
        self.endpoint.says(GREETED)
        self.endpoint.heard()
        return link

    def test_it_is_up_when_redis_has_answered(self) -> None:
        link = self.link()
        self.assertEqual(self.endpoint.heard(), GREETING)
        self.assertEqual((link.connected, self.events), (False, []))
        self.endpoint.says(GREETED)
        self.assertEqual((link.connected, link.trouble, self.events), (True, None, ["up"]))

    def test_it_logs_in_and_selects_the_database(self) -> None:
        self.link(RedisAddress.parse("redis://user:pass%20word@h/3"))
        self.assertEqual(self.endpoint.heard(), command(b"AUTH", b"user", b"pass word"))
        self.endpoint.says(b"+OK\r\n")
        self.assertEqual(self.endpoint.heard(), command(b"SELECT", b"3"))
        self.endpoint.says(b"+OK\r\n")
        self.assertEqual(self.endpoint.heard(), GREETING)

    def test_a_password_alone_is_the_default_users(self) -> None:
        self.link(RedisAddress.parse("redis://:secret@h"))
        self.assertEqual(self.endpoint.heard(), command(b"AUTH", b"secret"))

    def test_a_wrong_password_is_told_and_tried_again(self) -> None:
        link = self.link(RedisAddress.parse("redis://user:secret@h"))
        self.endpoint.says(b"-WRONGPASS invalid username-password pair\r\n")
        self.assertIn("WRONGPASS", str(link.trouble))
        self.assertNotIn("secret", str(link.trouble))
        self.clock.advance(0.1)
        self.assertEqual(self.endpoint.attempts, 2)

    def test_a_missing_password_is_told(self) -> None:
        link = self.link()
        self.endpoint.says(b"-NOAUTH Authentication required.\r\n" * 2)
        self.assertIn("NOAUTH", str(link.trouble))

    def test_a_redis_that_never_answers_is_told(self) -> None:
        link = self.link()
        self.clock.pump([0.3] * 7)
        self.assertIn("it does not answer", str(link.trouble))

    def test_a_redis_that_answers_no_more_is_told(self) -> None:
        link = self.connected()
        link.ask("GET", "a").addErrback(lambda _: None)
        self.clock.pump([0.3] * 7)
        self.assertIn("it does not answer", str(link.trouble))

    def test_a_password_that_redis_repeats_is_not_shown(self) -> None:
        link = self.link(RedisAddress.parse("redis://:secret@h"))
        self.endpoint.says(b"-ERR unknown command 'AUTH', with args beginning with: 'secret'\r\n")
        self.assertIn("unknown command 'AUTH'", str(link.trouble))
        self.assertNotIn("secret", str(link.trouble))

    def test_answers_come_as_bytes_and_numbers(self) -> None:
        link = self.connected()
        answers = [link.ask("GET", "a"), link.ask("INCR", b"b"), link.ask("HGETALL", "c")]
        self.assertEqual(
            self.endpoint.heard(),
            command(b"GET", b"a") + command(b"INCR", b"b") + command(b"HGETALL", b"c"),
        )
        self.endpoint.says(b"$3\r\n123\r\n:4\r\n*2\r\n$1\r\nx\r\n$-1\r\n")
        results = [self.successResultOf(answer) for answer in answers]
        self.assertEqual(results, [b"123", 4, [b"x", None]])

    def test_a_refused_command_fails_with_an_error_of_ours(self) -> None:
        answer = self.connected().ask("NONSENSE")
        self.endpoint.says(b"-ERR unknown command\r\n")
        self.failureResultOf(answer, Refused)

    def test_a_redis_that_loads_its_data_is_away(self) -> None:
        answer = self.connected().ask("GET", "a")
        self.endpoint.says(b"-LOADING Redis is loading the dataset in memory\r\n")
        self.failureResultOf(answer, StoreAway)

    def test_many_answers_come_together(self) -> None:
        answers = self.connected().ask_all([("GET", "a"), ("GET", "b"), ("GET", "c")])
        self.endpoint.says(b"$1\r\n1\r\n-WRONGTYPE no string\r\n")
        self.assertNoResult(answers)
        self.endpoint.says(b"$1\r\n3\r\n")
        first, second, third = self.successResultOf(answers)
        self.assertEqual((first, third), (b"1", b"3"))
        self.assertIsInstance(second, Refused)

    def test_commands_take_effect_in_one_step(self) -> None:
        link = self.connected()
        answers = link.transact([("SET", "a", "1"), ("GET", "a")])
        self.assertEqual(
            self.endpoint.heard(),
            command(b"MULTI")
            + command(b"SET", b"a", b"1")
            + command(b"GET", b"a")
            + command(b"EXEC"),
        )
        self.endpoint.says(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\n1\r\n")
        self.assertEqual(self.successResultOf(answers), [b"OK", b"1"])

    def test_one_command_needs_no_transaction(self) -> None:
        link = self.connected()
        answers = link.transact([("GET", "a")])
        self.assertEqual(self.endpoint.heard(), command(b"GET", b"a"))
        self.endpoint.says(b"$1\r\n1\r\n")
        self.assertEqual(self.successResultOf(answers), [b"1"])

    def test_a_refused_command_fails_a_transaction(self) -> None:
        """Refused when it is given, or when all of them take effect."""
        link = self.connected()
        for said in (
            b"+OK\r\n-ERR no\r\n+QUEUED\r\n-EXECABORT because\r\n",
            b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n-ERR no\r\n",
        ):
            answers = link.transact([("SET", "a", "1"), ("GET", "a")])
            self.endpoint.says(said)
            self.assertEqual(self.failureResultOf(answers, Refused).value.code, "ERR")

    def test_no_command_waits_for_a_connection(self) -> None:
        self.endpoint.refuses = True
        link = self.link()
        failure = self.failureResultOf(link.ask("PING"), StoreAway)
        self.assertIn("redis://redis.example:6379/0", str(failure.value))

    def test_more_commands_than_may_wait_fail_at_once(self) -> None:
        link = self.connected(bounds=LinkBounds(waiting_commands=2))
        waiting = [link.ask("GET", "a"), link.ask("GET", "b")]
        self.failureResultOf(link.ask("GET", "c"), StoreAway)
        self.endpoint.says(b"$1\r\n1\r\n" * 2)
        self.assertEqual([self.successResultOf(each) for each in waiting], [b"1", b"1"])

    def test_a_lost_connection_fails_waiting_commands_and_then_tells(self) -> None:
        link = self.connected()

        def failed(failure: Failure) -> None:
            self.events.append(type(failure.value).__name__)

        link.ask("GET", "a").addErrback(failed)
        self.endpoint.server.loseConnection()
        self.assertEqual(self.events, ["up", "StoreAway", "down"])
        self.assertIn("lost", str(link.trouble))

    def test_a_command_after_one_that_failed_for_the_loss_fails_too(self) -> None:
        link = self.connected()
        again = link.ask("GET", "a").addErrback(lambda _: link.ask("GET", "a"))
        self.endpoint.server.loseConnection()
        self.failureResultOf(again, StoreAway)

    def test_many_commands_fail_together(self) -> None:
        answers = self.connected().ask_all([("GET", "a"), ("GET", "b")])
        self.endpoint.says(b"$1\r\n1\r\n")
        self.endpoint.server.loseConnection()
        self.failureResultOf(answers, StoreAway)

    def test_it_connects_again(self) -> None:
        link = self.connected()
        self.endpoint.server.loseConnection()
        self.clock.advance(0.1)
        self.endpoint.says(GREETED)
        self.assertTrue(link.connected)
        self.assertEqual(self.events, ["up", "down", "up"])

    def test_attempts_are_made_less_and_less_often(self) -> None:
        self.endpoint.refuses = True
        self.link(bounds=LinkBounds(retry_delay_s=0.125, max_retry_delay_s=1.5))
        delays_s = []
        for _ in range(6):
            [delayed] = self.clock.getDelayedCalls()
            delays_s.append(delayed.getTime() - self.clock.seconds())
            self.clock.advance(delays_s[-1])
        self.assertEqual(delays_s, [0.125, 0.25, 0.5, 1.0, 1.5, 1.5])

    def test_a_redis_that_accepts_and_never_answers_is_away(self) -> None:
        link = self.link()
        self.clock.pump([0.3] * 6)
        self.assertFalse(self.endpoint.server.connected)
        self.assertFalse(link.connected)

    def test_a_redis_that_stops_answering_is_away(self) -> None:
        answer = self.connected().ask("GET", "a")
        self.clock.pump([0.3] * 5)
        self.assertNoResult(answer)
        self.clock.advance(0.3)
        self.failureResultOf(answer, StoreAway)
        self.assertEqual(self.events, ["up", "down"])

    def test_a_link_waits_while_answers_come(self) -> None:
        link = self.connected()
        answers = [link.ask("GET", "a") for _ in range(10)]
        for answer in answers:
            self.clock.pump([0.3] * 4)
            self.endpoint.says(b"$1\r\n1\r\n")
            self.successResultOf(answer)

    def test_a_node_that_was_busy_itself_does_not_blame_redis(self) -> None:
        answer = self.connected().ask("GET", "a")
        self.clock.advance(10)
        self.endpoint.says(b"$1\r\n1\r\n")
        self.successResultOf(answer)

    def test_a_silent_connection_is_tried(self) -> None:
        """Before a Redis with the shortest idle timeout, a second, would close it."""
        self.connected()
        self.clock.pump([0.3] * 3)
        self.assertEqual(self.endpoint.heard(), command(b"ROLE"))
        self.clock.pump([0.3] * 6)
        self.assertEqual(self.events, ["up", "down"])

    def test_a_silent_subscription_is_tried(self) -> None:
        self.connected(received=lambda *_: None)
        self.clock.pump([0.3] * 3)
        self.assertEqual(self.endpoint.heard(), command(b"PING"))

    def test_a_redis_that_does_not_tell_its_role_is_used(self) -> None:
        link = self.link()
        self.endpoint.says(b"+PONG\r\n-NOPERM this user may not\r\n")
        self.assertTrue(link.connected)
        self.endpoint.heard()
        self.clock.pump([0.3] * 3)
        self.assertEqual(self.endpoint.heard(), command(b"PING"))

    def test_a_replica_is_not_used(self) -> None:
        """The next attempt may find the primary."""
        link = self.link()
        self.endpoint.says(b"+PONG\r\n" + REPLICA)
        self.assertIn("it is not the primary", str(link.trouble))
        self.clock.advance(0.1)
        self.assertEqual(self.endpoint.attempts, 2)

    def test_a_subscription_to_a_replica_is_not_used(self) -> None:
        link = self.link(received=lambda *_: None)
        self.endpoint.says(b"+PONG\r\n" + REPLICA)
        self.assertIn("it is not the primary", str(link.trouble))

    def test_an_idle_connection_to_a_new_replica_is_given_up(self) -> None:
        link = self.connected(demoted=lambda: self.events.append("demoted"))
        self.clock.pump([0.3] * 3)
        self.endpoint.says(REPLICA)
        self.assertEqual(self.events, ["up", "down", "demoted"])
        self.assertIn("it is not the primary", str(link.trouble))

    def test_a_connection_that_refuses_a_write_as_a_replica_is_given_up(self) -> None:
        for said in (b"-READONLY no write\r\n", b"-MASTERDOWN no read\r\n"):
            self.events.clear()
            link = self.connected(demoted=lambda: self.events.append("demoted"))
            answer = link.ask("SET", "a", "b")
            self.endpoint.says(said)
            self.failureResultOf(answer, StoreAway)
            self.assertEqual(self.events, ["up", "down", "demoted"])

    def test_in_a_transaction_too(self) -> None:
        link = self.connected()
        answer = link.transact([("SET", "a", "b"), ("SET", "c", "d")])
        self.endpoint.says(b"+OK\r\n-READONLY no\r\n-READONLY no\r\n-EXECABORT\r\n")
        self.failureResultOf(answer, StoreAway)
        self.assertEqual(self.events, ["up", "down"])

    def test_a_link_that_is_renewed_connects_again(self) -> None:
        """It tells its loss, but not that it found a replica: another link did."""
        link = self.connected(demoted=lambda: self.events.append("demoted"))
        link.renew()
        self.assertEqual(self.events, ["up", "down"])
        self.clock.advance(0.1)
        self.assertEqual(self.endpoint.attempts, 2)

    def test_a_server_of_another_protocol_is_away(self) -> None:
        link = self.link()
        self.endpoint.says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertFalse(link.connected)

    def test_what_is_published_is_received(self) -> None:
        link = self.connected(received=lambda *what: self.events.append(what))
        answer = link.ask("SUBSCRIBE", "news")
        self.endpoint.says(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
        self.successResultOf(answer)
        self.endpoint.says(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\n42\r\n")
        self.assertEqual(self.events, ["up", (b"news", b"42")])

    def test_published_patterns_are_received_with_their_channel(self) -> None:
        link = self.connected(received=lambda *what: self.events.append(what))
        link.ask("PSUBSCRIBE", "n*")
        self.endpoint.says(b"*3\r\n$10\r\npsubscribe\r\n$2\r\nn*\r\n:1\r\n")
        self.endpoint.says(b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$2\r\n42\r\n")
        self.assertEqual(self.events, ["up", (b"news", b"42")])

    def test_a_user_that_fails_does_not_cost_the_connection(self) -> None:
        link = self.connected(received=lambda *what: 1 / 0)
        link.ask("SUBSCRIBE", "news")
        self.endpoint.says(b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
        self.endpoint.says(b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\n42\r\n")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(link.connected)

    def test_stopping_ends_the_connection_without_telling(self) -> None:
        link = self.connected()
        answer = link.ask("GET", "a")
        self.successResultOf(link.stop())
        self.failureResultOf(answer, StoreAway)
        self.failureResultOf(link.ask("GET", "a"), StoreAway)
        self.assertFalse(self.endpoint.server.connected)
        self.assertEqual((self.events, self.clock.getDelayedCalls()), (["up"], []))

    def test_stopping_as_soon_as_it_is_up(self) -> None:
        link = self.link()
        stopped: list[Deferred[None]] = []
        link._up = lambda: stopped.append(link.stop())
        self.endpoint.says(GREETED)
        self.successResultOf(stopped[0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_while_waiting_for_the_next_attempt(self) -> None:
        self.endpoint.refuses = True
        link = self.link()
        self.successResultOf(link.stop())
        self.successResultOf(link.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_while_redis_is_greeted(self) -> None:
        link = self.link()
        self.successResultOf(link.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RedisAddressTests(SynchronousTestCase):
    """URLs."""

    def test_everything(self) -> None:
        self.assertEqual(
            RedisAddress.parse("rediss://us%40er:p%2Fw@redis.example:7000/2#a"),
            RedisAddress("redis.example", 7000, 2, "us@er", "p/w", True),
        )

    def test_the_host_alone(self) -> None:
        self.assertEqual(RedisAddress.parse("redis://h"), RedisAddress("h", 6379))

    def test_ipv6(self) -> None:
        address = RedisAddress.parse("redis://[::1]:7000")
        self.assertEqual((address.host, str(address)), ("::1", "redis://[::1]:7000/0"))

    def test_the_text_of_an_address_has_no_password(self) -> None:
        address = RedisAddress.parse("redis://user:secret@h/1")
        self.assertEqual(str(address), "redis://h:6379/1")
        self.assertNotIn("secret", repr(address))


class RefusedTests(SynchronousTestCase):
    """The code of a command that Redis refuses."""

    def test_the_first_word(self) -> None:
        self.assertEqual("WRONGTYPE", Refused("WRONGTYPE Operation against a key").code)

    def test_a_command_in_a_script(self) -> None:
        """Redis 6 names the code in the middle of the text, or says it in words alone."""
        text = "ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed"
        self.assertEqual("OOM", Refused(text).code)
        for text in (
            "ERR The user executing the script can't run this command or subcommand",
            "ERR ACL failure in script: this user has no permissions",
        ):
            self.assertEqual("NOPERM", Refused(text).code)

    def test_arguments_are_cut_off(self) -> None:
        """They may be a password."""
        refused = Refused("ERR unknown command 'AUHT', with args beginning with: 'secret'")
        self.assertEqual("ERR unknown command 'AUHT'", str(refused))
