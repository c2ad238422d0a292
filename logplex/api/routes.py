# SPDX-License-Identifier: Apache-2.0

"""
The route of a request: it is found once, before the body is read, and runs when the body has
arrived.
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
    """A drain's id in a path: an integer of at most 18 digits, the bound of databases."""

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
        Register the decorated function for requests with an HTTP method and a path.

        :param name: the name of the route; the default is the name of the function.
        """
        options: Any = {} if name is None else {"endpoint": name}
        # Klein's types know no arguments but the request.
        return cast(Callable[[_Method], _Method], self.route(path, methods=[method], **options))

    def on_error(self, *kinds: type[Exception]) -> Callable[[_Method], _Method]:
        """Register the decorated function to answer requests whose route raises an exception."""
        return cast(Callable[[_Method], _Method], self.handle_errors(*kinds))


@frozen
class Match:
    """
    The route of a request.

    :ivar app: the application that has the route.
    :ivar rule: the route, in Werkzeug's form.
    :ivar arguments: the values of the route's variables in the path.
    """

    app: Klein
    rule: Rule
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The route's name, which Werkzeug and Klein call its endpoint."""
        return str(self.rule.endpoint)

    def resource(self) -> IResource:
        """Return a resource that answers with this route. It does not search for the route."""
        app = copy(self.app)
        app._url_map = cast(Any, _FoundRoute(self))
        return app.resource()


@frozen
class _FoundRoute:
    """A map of routes for Klein that returns the route that was already found."""

    route: Match

    def bind(self, *_: object, **__: object) -> _FoundRoute:
        """Return the object that Klein asks to match the path; it has the route already."""
        return self

    def match(self, return_rule: bool) -> tuple[Rule, dict[str, Any]]:
        """Return the route and its arguments, in the form of Werkzeug."""
        return self.route.rule, self.route.arguments


def match(apps: Sequence[Klein], request: Request) -> Match:
    """
    Find the route of a request in the first application that has it.

    :raise BadHead: the header ``Host`` cannot be read.
    :raise BadPath: the path cannot be read.
    :raise UnknownRoute: no route has this path.
    :raise WrongMethod: the path has routes, but none of this method.
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
    """The component of a request that holds its :class:`Admission`."""


@frozen
class Admission:
    """
    The result of the gate's checks, for a request that was admitted.

    :ivar caller: the credential of the caller; :data:`NOBODY` on routes that are open to all.
    :ivar details: added by the route to the audit line about a change; nothing secret.
    """

    route: Match
    caller: Credential = NOBODY
    details: dict[str, object] = Factory(dict)


def remember(request: Request, admission: Admission) -> None:
    """Keep the admission with the request."""
    request.setComponent(IAdmission, admission)


def admission_of(request: Request) -> Admission:
    """Return the admission that is kept with the request."""
    admission: Admission = request.getComponent(IAdmission)
    return admission


class AdmittedResource(Resource):
    """Answers every request with the route that was found when it was admitted."""

    isLeaf = True

    def render(self, request: Request) -> Any:
        return admission_of(request).route.resource().render(request)
