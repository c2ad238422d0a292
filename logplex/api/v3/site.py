"""
API v3 as a site: all its routes behind their gate.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from logplex.access.authenticator import Authenticator
from logplex.api.audit import Journal
from logplex.api.json import error_answer
from logplex.api.provisioning import Provisioning
from logplex.api.site import api_site
from logplex.api.v3.app import answer_to
from logplex.api.v3.channels import ChannelRoutes
from logplex.api.v3.configuration import ConfigurationRoutes
from logplex.api.v3.credentials import CredentialRoutes
from logplex.api.v3.gate import V3Gate
from logplex.api.v3.operation import OperationRoutes
from logplex.interfaces import IConfigStore, IDrains, ISpool
from logplex.model.rods import Rods
from logplex.routing.registry import Registry
from logplex.settings import Auth, Limits, Urls
from logplex.web import Site


def v3_site(
    provisioning: Provisioning,
    store: IConfigStore,
    registry: Registry,
    spool: ISpool,
    drains: IDrains,
    authenticator: Authenticator,
    rods: Rods,
    auth: Auth,
    urls: Urls,
    limits: Limits,
    clock: IReactorTime,
    journal: Journal,
    operation: OperationRoutes,
) -> Site:
    """
    API v3, to be listened with.

    :param provisioning: changes the store; the legacy API shares it.
    :param operation: knows the parts of the node.
    """
    channels = ChannelRoutes(provisioning, registry, spool, drains, clock, urls)
    credentials = CredentialRoutes(store, registry, authenticator, auth, urls, clock)
    configuration = ConfigurationRoutes(store, registry, clock)
    return api_site(
        V3Gate(
            [channels.app, credentials.app, configuration.app, operation.app],
            registry,
            rods,
            authenticator,
        ),
        lambda refused, request: answer_to(refused),
        error_answer(413, "the body is too large"),
        journal,
        limits,
        clock,
    )
