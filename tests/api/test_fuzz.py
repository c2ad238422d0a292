# SPDX-License-Identifier: Apache-2.0

"""Whatever an API is sent, its answer is one that its description has, and no failure."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import product
from typing import Any, ClassVar

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode

from tests.doubles.api import DescribedCase, LegacyCase, V3Case, basic
from tests.doubles.exchange import send

EXAMPLES = 10


#: The answer of what the legacy API has no more.
GONE = 501


class Fuzz(DescribedCase):
    """
    Requests that follow the description, and requests that break it.

    :cvar known: the names of parameters, and what there is in the store of each: where the path is
        not what is broken, it leads to something.
    """

    known: ClassVar[Mapping[str, object]]

    def assert_no_failure(self) -> None:
        """Every route, on a node of its own."""
        document = deepcopy(self.description.document)
        for name, value in self.known.items():
            document["components"]["parameters"][name]["schema"] = {"const": value}
        description = schemathesis.openapi.from_dict(document)
        for result, mode in product(description.get_all_operations(), GenerationMode):
            operation = result.ok()
            can_be_broken = operation.body or operation.query or operation.path_parameters
            if mode is GenerationMode.NEGATIVE and not can_be_broken:
                continue
            self.setUp()
            cases = operation.as_strategy(generation_mode=mode)
            trying = given(case=cases)(self.assert_answered)
            settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )(trying)()

    def assert_answered(self, case: Case[Any]) -> None:
        asked = case.as_transport_kwargs(base_url="http://localhost")
        written = requests.Request(
            asked["method"],
            asked["url"],
            params=asked.get("params"),
            data=asked.get("data"),
            json=asked.get("json"),
            files=asked.get("files"),
        ).prepare()
        body: Any = written.body or b""
        headers = {
            "Authorization": basic("full"),
            "Content-Type": str(written.headers.get("Content-Type", "application/json")),
        }
        if isinstance(body, str):
            body = body.encode()
        answer = send(self.site, case.method, written.path_url, headers, body).answer()
        self.description.check(answer)
        self.assertTrue(answer.code < 500 or answer.code == GONE, answer)


class V3FuzzTests(Fuzz, V3Case):
    """API v3."""

    known: ClassVar = {"ChannelId": "app", "DrainId": 1}

    def test_no_failure(self) -> None:
        self.assert_no_failure()


class LegacyFuzzTests(Fuzz, LegacyCase):
    """The legacy API."""

    known: ClassVar = {"ChannelId": "7", "DrainId": 73}

    def test_no_failure(self) -> None:
        self.assert_no_failure()
