"""
Which route a request is for, found from its head alone, before the body is there.

Klein finds it again when the body has come; both read the same map of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from attrs import frozen
from klein import Klein
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter

from logplex.api.refusals import BadHead, BadPath, UnknownRoute, WrongMethod

#: Methods that change nothing.
READING = frozenset({b"GET", b"HEAD"})

_Method = TypeVar("_Method", bound=Callable[..., object])


class DrainId(BaseConverter):
    """A drain's id in a path: an integer of at most 18 digits, as databases count."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)


class ChannelNumber(BaseConverter):
    """A channel's id in a path of the legacy API."""

    regex = "[0-9]{1,128}"


class App(Klein):
    """Klein with ``<drain_id:…>`` and ``<number:…>`` in its paths, and without redirects."""

    def __init__(self) -> None:
        super().__init__()
        self.url_map.merge_slashes = False
        self.url_map.converters["drain_id"] = DrainId
        self.url_map.converters["number"] = ChannelNumber

    def on(self, method: str, path: str, name: str | None = None) -> Callable[[_Method], _Method]:
        """
        Answer this method and path with the decorated method.

        :param name: of the route; ``None``: the method's own.
        """
        options: Any = {} if name is None else {"endpoint": name}
        # Klein's types know no arguments but the request.
        return cast(Callable[[_Method], _Method], self.route(path, methods=[method], **options))

    def on_error(self, *kinds: type[Exception]) -> Callable[[_Method], _Method]:
        """Answer what a route raises with the decorated method."""
        return cast(Callable[[_Method], _Method], self.handle_errors(*kinds))


@frozen
class Match:
    """
    The route of a request.

    :ivar app: what has the route.
    :ivar name: the route's endpoint.
    :ivar arguments: what stands in the path for the route's variables.
    """

    app: Klein
    name: str
    arguments: dict[str, Any]


def match(apps: Sequence[Klein], request: Request) -> Match:
    """
    Find the route, in the first of the applications that has it.

    :raise BadHead: ``Host`` cannot be read.
    :raise BadPath: nor can the path.
    :raise UnknownRoute: no route has this path.
    :raise WrongMethod: the path has routes, but none of this method.
    """
    path = request.path.decode("ascii", "replace")
    method = request.method.decode("ascii", "replace")
    try:
        segments = [unquote(each, errors="strict") for each in path.split("/")]
    except UnicodeDecodeError:
        raise BadPath("a path is UTF-8") from None
    if any("/" in each for each in segments):
        raise BadPath("no part of a path can contain '/'")
    try:
        host = request.getRequestHostname().decode("ascii")
        maps = [app.url_map.bind(host, path_info="/".join(segments)) for app in apps]
    except (UnicodeDecodeError, BadHost):
        raise BadHead("the host must be readable") from None
    if method != method.upper():
        method = "?"  # Methods are case-sensitive (RFC 9110 §9.1), but not to Werkzeug.
    allowed: set[str] = set()
    for app, routes in zip(apps, maps, strict=True):
        try:
            name, arguments = routes.match(method=method)
        except MethodNotAllowed as wrong:
            allowed.update(wrong.valid_methods or ())
        except NotFound:
            pass
        else:
            return Match(app, name, dict(arguments))
    if allowed:
        raise WrongMethod(sorted(allowed))
    raise UnknownRoute
