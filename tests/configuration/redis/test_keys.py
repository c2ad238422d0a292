# SPDX-License-Identifier: Apache-2.0

"""
Values as they stand in Redis.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.configuration.redis.keys import (
    Malformed,
    commands_of,
    key_of,
    name_of,
    pairs,
    value_of,
)
from logplex.configuration.redis.notifications import missing_flags
from logplex.model.values import Channel, Credential, Delete, Drain, Put, Token, Value

ids = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":/"), min_size=1
)
texts = st.text()
channels = st.builds(Channel, ids, texts, st.frozensets(st.sampled_from(["no_tail", "no_redis"])))
tokens = st.builds(Token, ids, ids, texts.filter(bool), st.integers(0, 10**17))
drains = st.builds(Drain, st.integers(1, 2**53), ids, ids, st.none() | ids, st.booleans())
credentials = st.builds(Credential, ids, texts.filter(bool), texts, st.booleans(), st.none() | ids)
values = channels | tokens | drains | credentials


def read_back(value: Value) -> Value:
    """Return the hash that the commands for a value write."""
    fields: dict[bytes, bytes] = {b"full_api": b"1", b"channel": b"any"}
    for command in commands_of(Put(value)):
        name, key, *arguments = (text.encode() for text in command)
        if name == b"HDEL":
            for each in arguments:
                fields.pop(each, None)
        else:
            fields |= pairs(arguments)
    read = name_of(key)
    assert read is not None
    return value_of(read, fields)


class KeysTests(SynchronousTestCase):
    """Keys and hashes."""

    @given(values)
    def test_written_values_are_read(self, value: Value) -> None:
        self.assertEqual(read_back(value), value)

    @given(values)
    def test_all_fields_are_in_one_hmset(self, value: Value) -> None:
        commands = commands_of(Put(value))
        self.assertEqual([command[0] for command in commands[-1:]], ["HMSET"])
        self.assertEqual({command[0] for command in commands[:-1]} - {"HDEL"}, set())

    def test_the_commands_are_those_of_erlang_nodes(self) -> None:
        self.assertEqual(
            commands_of(Put(Drain(7, "c", "d.1", "http://h/"))),
            [
                ("HDEL", "drain:7:data", "durable"),
                (
                    *("HMSET", "drain:7:data", "ch", "c", "token", "d.1"),
                    *("url", "http://h/", "state", "provisioned"),
                ),
            ],
        )
        self.assertEqual(commands_of(Delete(Channel, "c")), [("DEL", "ch:c:data")])

    def test_keys(self) -> None:
        names = [(Channel, "c"), (Token, "t.1"), (Drain, 7), (Credential, "a:b")]
        keys = [b"ch:c:data", b"tok:t.1:data", b"drain:7:data", b"cred:a:b"]
        self.assertEqual([key_of(name).encode() for name in names], keys)  # type: ignore[arg-type]
        self.assertEqual([name_of(key) for key in keys], names)

    def test_other_keys(self) -> None:
        for key in (b"ch:c:spool", b"ch:a:b:data", b"session:x", b"seq:c", b"x:y:data", b""):
            self.assertIsNone(name_of(key), key)

    @given(st.binary())
    def test_any_key_is_ours_or_not_or_malformed(self, key: bytes) -> None:
        try:
            name = name_of(key)
        except Malformed:
            return
        if name is not None:
            self.assertEqual(key_of(name).encode(), key)

    def test_malformed_keys(self) -> None:
        for key in (b"drain:x:data", b"drain:007:data", b"drain:0:data", b"ch:\xff:data"):
            self.assertRaises(Malformed, name_of, key)

    def test_missing_fields(self) -> None:
        for name in ((Token, "t"), (Drain, 1), (Credential, "c")):
            self.assertRaises(Malformed, value_of, name, {b"name": b"x", b"ch": b""})

    def test_bytes_that_are_not_text_are_replaced(self) -> None:
        channel = value_of((Channel, "c"), {b"name": b"caf\xe9", b"\xff": b""})
        self.assertEqual(channel, Channel("c", "caf\ufffd"))

    def test_old_drains(self) -> None:
        fields = {b"ch": b"c", b"token": b"d", b"host": b"h"}
        self.assertEqual(value_of((Drain, 1), fields), Drain(1, "c", "d", "syslog://h:514"))
        fields |= {b"host": b"::1", b"port": b"601"}
        self.assertEqual(value_of((Drain, 1), fields), Drain(1, "c", "d", "syslog://[::1]:601"))
        fields |= {b"url": b"http://h/"}
        self.assertEqual(value_of((Drain, 1), fields), Drain(1, "c", "d", "http://h/"))


class FlagsTests(SynchronousTestCase):
    """``notify-keyspace-events``"""

    def test_missing_flags(self) -> None:
        for present, missing in (
            ("", "Kg$hxe"),
            ("AKE", ""),
            ("A", "K"),
            ("KE", "g$hxe"),
            ("g$lshzxeKtdmn", ""),
        ):
            self.assertEqual(missing_flags(present), missing)
