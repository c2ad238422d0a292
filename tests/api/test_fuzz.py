"""Whatever API v3 is sent, its answer is one that its description has, and no failure."""

from __future__ import annotations

from itertools import product
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode

from tests.api.cases import V3Case, basic
from tests.api.exchange import send
from tests.api.openapi import DESCRIPTION, check

EXAMPLES = 10


class FuzzTests(V3Case):
    """Requests that follow the description, and requests that break it."""

    def test_no_failure(self) -> None:
        """Every route, on a node of its own."""
        description = schemathesis.openapi.from_dict(DESCRIPTION)
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
        answer = send(self.v3, case.method, written.path_url, headers, body).answer()
        check(answer)
        self.assertLess(answer.code, 500, answer)
