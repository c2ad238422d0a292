# SPDX-License-Identifier: Apache-2.0

"""The descriptions of the APIs, and whether an answer is one that they describe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.doubles.exchange import Answer

_DOCS = Path(__file__).parents[2] / "docs"
_METHODS = ("get", "put", "post", "delete", "options")

#: The answers that are the same on every path, by status.
_ANYWHERE = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "TooLarge",
    503: "Unavailable",
}


class Description:
    """
    An API as its file describes it.

    :param name: the file's name.
    :param end: what may follow a path, as a pattern.
    :ivar document: what the file says.
    :ivar routes: every method and path, the path's variables in braces.
    :ivar answers: every method, path and status.
    """

    def __init__(self, name: str, end: str = "") -> None:
        self.document = yaml.safe_load((_DOCS / name).read_text("utf-8"))
        self._end = end
        self._paths = self.document["paths"]
        self.routes = {
            (method.upper(), path)
            for path, item in self._paths.items()
            for method in _METHODS
            if method in item
        }
        self.answers = {
            (method, path, int(code))
            for method, path in self.routes
            for code in self._paths[path][method.lower()]["responses"]
        }

    def path_of(self, path: str) -> str | None:
        """The path of the description that this one is an example of."""
        for described in self._paths:
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(described))
            if re.fullmatch(pattern + self._end, path):
                return str(described)
        return None

    def check(self, answer: Answer) -> tuple[str, str, int] | None:
        """
        Hold an answer against the description.

        :return: what it is an example of; ``None`` for answers that are the same on every path.
        :raise AssertionError: it is not described.
        """
        method, path = answer.asked
        described = self.path_of(path)
        if described is None or (method, described) not in self.routes:
            part = self.document["components"]["responses"][_ANYWHERE[answer.code]]
            example = None
        else:
            responses = self._paths[described][method.lower()]["responses"]
            if str(answer.code) not in responses:
                raise AssertionError(f"not described: {answer}")
            part = self._resolved(responses[str(answer.code)])
            example = (method, described, answer.code)
        for name, header in part.get("headers", {}).items():
            header = self._resolved(header)
            if name.lower() in answer.headers:
                self._validate(answer.headers[name.lower()], header["schema"])
            elif header.get("required"):
                raise AssertionError(f"without {name}: {answer}")
        self._check_body(answer, part.get("content", {}))
        return example

    def _check_body(self, answer: Answer, content: dict[str, Any]) -> None:
        if not content:
            if answer.body:
                raise AssertionError(f"a body that is not described: {answer}")
            return
        media_type = answer.headers["content-type"].partition(";")[0]
        if media_type not in content:
            raise AssertionError(f"a type that is not described: {answer}")
        self._validate(
            answer.json if media_type == "application/json" else answer.text,
            content[media_type]["schema"],
        )

    def _resolved(self, part: Any) -> Any:
        while "$ref" in part:
            target: Any = self.document
            for step in part["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            part = target
        return part

    def _validate(self, value: object, schema: object) -> None:
        components = self.document["components"]
        Draft202012Validator({"components": components, "allOf": [schema]}).validate(value)


V3 = Description("openapi.yaml", end="/?")
LEGACY = Description("openapi-legacy.yaml")
