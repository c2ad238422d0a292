# SPDX-License-Identifier: Apache-2.0

"""
Find the route of a request before the body is read, and run the route when the body has arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from attrs import Factory, frozen
from klein import Klein
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, Rule
from zope.interface import Interface

from logplex.api.refusals import BadHead, BadPath, UnknownRoute, WrongMethod
from logplex.model.values import NOBODY, Credential

#: Methods that change nothing.
READING = frozenset({b"GET", b"HEAD"})

_Method = TypeVar("_Method", bound=Callable[..., object])


class DrainId(BaseConverter):
    """The id of a drain in a path: an integer of at most 18 digits, which databases can store."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)


class ChannelNumber(BaseConverter):
    """The id of a channel in a path of the legacy API."""

    regex = "[0-9]{1,128}"


class App(Klein):
    """
    A Klein application whose paths may contain ``<drain_id:…>`` and ``<number:…>``. The application
    sends no redirects.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url_map.merge_slashes = False
        self.url_map.converters["drain_id"] = DrainId
        self.url_map.converters["number"] = ChannelNumber

    def on(self, method: str, path: str, name: str | None = None) -> Callable[[_Method], _Method]:
        """
        Return a decorator. The decorated function answers requests with this HTTP method and path.

        :param name: the name of the route; ``None`` to use the name of the function.
        """
        options: Any = {} if name is None else {"endpoint": name}
        # Klein's types know no arguments but the request.
        return cast(Callable[[_Method], _Method], self.route(path, methods=[method], **options))

    def on_error(self, *kinds: type[Exception]) -> Callable[[_Method], _Method]:
        """
        Return a decorator. The decorated function answers requests whose route raises one of these
        exceptions.
        """
        return cast(Callable[[_Method], _Method], self.handle_errors(*kinds))


@frozen
class Match:
    """
    The route that was found for a request.

    :ivar app: the application that contains the route.
    :ivar rule: the route as an object of Werkzeug.
    :ivar arguments: the values of the route's variables in the path.
    """

    app: Klein
    rule: Rule
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the route. Werkzeug and Klein call this name the endpoint."""
        return str(self.rule.endpoint)

    def resource(self) -> IResource:
        """Return an HTTP resource that runs this route without searching for the route again."""
        app = copy(self.app)
        app._url_map = cast(Any, _FoundRoute(self))
        return app.resource()


@frozen
class _FoundRoute:
    """
    A replacement for Klein's map of routes. It always returns the route that was found before.
    """

    route: Match

    def bind(self, *_: object, **__: object) -> _FoundRoute:
        """Return this object, which Klein then asks for the route."""
        return self

    def match(self, return_rule: bool) -> tuple[Rule, dict[str, Any]]:
        """Return the route and the values of its variables, as Werkzeug does."""
        return self.route.rule, self.route.arguments


def match(apps: Sequence[Klein], request: Request) -> Match:
    """
    Find the route of a request in the first application that contains the route.

    :raise BadHead: the header ``Host`` cannot be read.
    :raise BadPath: the path cannot be read.
    :raise UnknownRoute: no route has this path.
    :raise WrongMethod: a route has this path, but another HTTP method.
    """
    if len(request.requestHeaders.getRawHeaders(b"Host", [])) > 1:
        raise BadHead("there must be one host")
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
            rule, arguments = routes.match(method=method, return_rule=True)
        except MethodNotAllowed as wrong:
            allowed.update(wrong.valid_methods or ())
        except NotFound:
            pass
        else:
            return Match(app, rule, dict(arguments))
    if allowed:
        raise WrongMethod(sorted(allowed))
    raise UnknownRoute


class IAdmission(Interface):
    """The component of a request that holds the :class:`Admission` of the request."""


@frozen
class Admission:
    """
    The result of checking a request that was admitted.

    :ivar caller: the credential of the caller; :data:`NOBODY` if the route is open to all callers.
    :ivar details: facts that the route adds to the audit line; without secrets.
    """

    route: Match
    caller: Credential = NOBODY
    details: dict[str, object] = Factory(dict)


def remember(request: Request, admission: Admission) -> None:
    """Attach the admission to the request."""
    request.setComponent(IAdmission, admission)


def admission_of(request: Request) -> Admission:
    """Return the admission that is attached to the request."""
    admission: Admission = request.getComponent(IAdmission)
    return admission


class AdmittedResource(Resource):
    """Answer every request by running the route that was found when the request was admitted."""

    isLeaf = True

    def render(self, request: Request) -> Any:
        return admission_of(request).route.resource().render(request)
