"""The description of API v3, and whether an answer is one that it describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.api.exchange import Answer

DESCRIPTION = yaml.safe_load(
    (Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text("utf-8")
)
METHODS = ("get", "put", "post", "delete")


def described_routes() -> set[tuple[str, str]]:
    """Every method and path, the path's variables in braces."""
    return {
        (method.upper(), path)
        for path, item in DESCRIPTION["paths"].items()
        for method in METHODS
        if method in item
    }


def described_answers() -> set[tuple[str, str, int]]:
    """Every method, path and status."""
    return {
        (method, path, int(code))
        for method, path in described_routes()
        for code in DESCRIPTION["paths"][path][method.lower()]["responses"]
    }


def described_path(path: str) -> str | None:
    """The path of the description that this one is an example of."""
    for described in DESCRIPTION["paths"]:
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(described))
        if re.fullmatch(pattern + "/?", path):
            return str(described)
    return None


def _resolved(part: Any) -> Any:
    while "$ref" in part:
        target: Any = DESCRIPTION
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        part = target
    return part


def _valid(value: object, schema: object) -> None:
    Draft202012Validator({"components": DESCRIPTION["components"], "allOf": [schema]}).validate(
        value
    )


def check(answer: Answer) -> tuple[str, str, int] | None:
    """
    Hold an answer against the description.

    :return: what it is an example of; ``None`` for answers that are the same on every path.
    :raise AssertionError: it is not described.
    """
    method, path = answer.asked
    described = described_path(path)
    if described is None or method.lower() not in DESCRIPTION["paths"][described]:
        part = DESCRIPTION["components"]["responses"][_ANYWHERE[answer.code]]
        example = None
    else:
        responses = DESCRIPTION["paths"][described][method.lower()]["responses"]
        if str(answer.code) not in responses:
            raise AssertionError(f"not described: {answer}")
        part = _resolved(responses[str(answer.code)])
        example = (method, described, answer.code)
    for name, header in part.get("headers", {}).items():
        header = _resolved(header)
        if name.lower() in answer.headers:
            _valid(answer.headers[name.lower()], header["schema"])
        elif header.get("required"):
            raise AssertionError(f"without {name}: {answer}")
    _check_body(answer, part.get("content", {}))
    return example


_ANYWHERE = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "TooLarge",
    503: "Unavailable",
}


def _check_body(answer: Answer, content: dict[str, Any]) -> None:
    if not content:
        if answer.body:
            raise AssertionError(f"a body that is not described: {answer}")
        return
    media_type = answer.headers["content-type"].partition(";")[0]
    if media_type not in content:
        raise AssertionError(f"a type that is not described: {answer}")
    _valid(
        answer.json if media_type == "application/json" else answer.text,
        content[media_type]["schema"],
    )
