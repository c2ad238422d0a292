# SPDX-License-Identifier: Apache-2.0

"""The configuration as JSON, and back."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.model.export import BadExport, export_values, import_values
from logplex.model.values import CHANNEL_FLAGS, Channel, Credential, Drain, Token, Value

IDS = st.from_regex(r"[!-.0-9;-~]{1,20}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"))
NUMBERS = st.integers(0, 10**18 - 1)
VALUES = st.one_of(
    st.builds(Channel, IDS, TEXTS, st.frozensets(st.sampled_from(sorted(CHANNEL_FLAGS)))),
    st.builds(Token, IDS, IDS, TEXTS.filter(bool), NUMBERS),
    st.builds(Drain, NUMBERS, IDS, IDS, st.none() | TEXTS, st.booleans()),
    st.builds(Credential, IDS, TEXTS.filter(bool), TEXTS, st.booleans(), st.none() | IDS),
)


class ExportTests(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.lists(VALUES))
    def test_there_and_back(self, values: list[Value]) -> None:
        """Every value comes back from JSON as it was."""
        document = json.loads(json.dumps(export_values(values)))
        self.assertCountEqual(values, import_values(document))

    def test_a_part(self) -> None:
        """A document need not hold everything."""
        document = {"drains": [{"id": 1, "channel": "c", "token": "d.1", "url": None}]}
        self.assertEqual([Drain(1, "c", "d.1")], import_values(document))
        self.assertEqual([], import_values({}))

    def test_order(self) -> None:
        """Channels first, whatever the document's order is."""
        values: list[Value] = [Token("t.1", "c", "web"), Channel("c")]
        document = dict(reversed(export_values(values).items()))
        self.assertEqual(values[::-1], import_values(document))

    def test_bad(self) -> None:
        """The text says where and why, and shows no secret."""
        good = {"id": "x", "secret": "hidden", "name": "", "full_api": True, "channel": None}
        bad: tuple[tuple[object, str], ...] = (
            ([], "it must be an object"),
            ({"chanels": []}, "unknown member 'chanels'"),
            ({"tokens": {}}, "'tokens' must be an array"),
            ({"tokens": [1]}, "tokens[0] must be an object"),
            ({"credentials": [good, {}]}, "credentials[1]: 'id' is missing or wrong"),
            ({"credentials": [{**good, "id": "a:b"}]}, "credentials[0]: 'id' is missing or wrong"),
            ({"credentials": [{**good, "secret": ""}]}, "'secret' is missing or wrong"),
            ({"credentials": [{**good, "full_api": 1}]}, "'full_api' is missing or wrong"),
            ({"credentials": [{**good, "more": 1}]}, "unknown member 'more'"),
            (
                {"channels": [{"id": "c", "name": "", "flags": ["x"]}]},
                "'flags' is missing or wrong",
            ),
            ({"drains": [{"id": True, "channel": "c", "token": "d", "url": None}]}, "'id'"),
        )
        for document, why in bad:
            with self.assertRaises(BadExport) as caught:
                import_values(document)
            self.assertIn(why, str(caught.exception))
            self.assertNotIn("hidden", str(caught.exception))
