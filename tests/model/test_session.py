# SPDX-License-Identifier: Apache-2.0

"""Reading the body of a session."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.model.session import BadSession, Session, is_session_id, parse_session


def parsed(**fields: Any) -> Session:
    return parse_session(json.dumps({"channel_id": "app-1", **fields}).encode())


class SessionTests(SynchronousTestCase):
    def refuses(self, body: bytes, why: str) -> None:
        error = self.assertRaises(BadSession, parse_session, body)
        self.assertEqual(why, str(error))

    def test_channel_alone_means_a_hundred_lines_and_no_tail(self) -> None:
        self.assertEqual(Session("app-1", 100, False, None, None), parsed())

    def test_everything(self) -> None:
        self.assertEqual(
            Session("app-1", 5, True, b"app", b"web.1"),
            parsed(num="5", tail=True, source="app", ps="web.1"),
        )

    def test_a_field_stands_once(self) -> None:
        self.refuses(b'{"channel_id": "a", "channel_id": "b"}', "bad JSON")
        self.refuses(b'{"channel_id": "a", "more": {"x": 1, "x": 2}}', "bad JSON")

    def test_num_may_be_a_number(self) -> None:
        self.assertEqual(0, parsed(num=0).num)
        self.assertEqual(1500, parsed(num=1500).num)

    def test_num_must_be_a_whole_number(self) -> None:
        bad: list[Any] = ["", "ten", "-1", "1.5", " 1", "٣", "9" * 5000, -1, 1.5, True, [], {}]
        for num in bad:
            error = self.assertRaises(BadSession, parsed, num=num)
            self.assertEqual("'num' must be a whole number", str(error))

    def test_any_tail_but_false_and_null_means_yes(self) -> None:
        self.assertEqual([False, False], [parsed(tail=value).tail for value in (False, None)])
        others: list[Any] = [True, 1, 0, "", "false", [], {}]
        for value in others:
            self.assertTrue(parsed(tail=value).tail, value)

    def test_null_filters_are_none(self) -> None:
        self.assertEqual(parsed(), parsed(source=None, ps=None))

    def test_filters_must_be_strings(self) -> None:
        error = self.assertRaises(BadSession, parsed, source=1)
        self.assertEqual("'source' must be a string", str(error))
        error = self.assertRaises(BadSession, parsed, ps=["web"])
        self.assertEqual("'ps' must be a string", str(error))

    def test_unknown_fields_are_ignored(self) -> None:
        self.assertEqual(parsed(), parsed(colour="blue"))

    def test_without_channel(self) -> None:
        for body in (b"{}", b'{"channel_id": 7}', b'{"channel_id": null}'):
            self.refuses(body, "'channel_id' missing")

    def test_no_object(self) -> None:
        for body in (b"[]", b"7", b'"app-1"', b"null"):
            self.refuses(body, "invalid payload")

    def test_bad_json(self) -> None:
        for body in (b"", b"{", b"\xff", b"[" * 200_000, b'{"num": ' + b"9" * 5000 + b"}"):
            self.refuses(body, "bad JSON")

    @given(
        body=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(
                    st.sampled_from(["channel_id", "num", "tail", "source", "ps"]), inner
                )
            ),
        )
    )
    @settings(deadline=None)
    def test_no_body_makes_another_error(self, body: object) -> None:
        try:
            session = parse_session(json.dumps(body).encode())
        except BadSession:
            return
        self.assertIsInstance(session.num, int)

    def test_session_ids_are_uuids(self) -> None:
        self.assertTrue(is_session_id("01234567-89ab-cdef-0123-456789abcdef"))
        for text in (
            "",
            "x",
            "0123456789abcdef0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef\n",
            "01234567-89ab-cdef-0123-456789abcdeg",
        ):
            self.assertFalse(is_session_id(text), text)
