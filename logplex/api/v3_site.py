"""
API v3 as a site: all its routes behind their gate.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from logplex.api.answers import error_answer
from logplex.api.gate import V3Gate
from logplex.api.journal import Journal
from logplex.api.provisioning import Provisioning
from logplex.api.site import api_site
from logplex.api.v3_answers import answer_to
from logplex.api.v3_channels import ChannelRoutes
from logplex.api.v3_configuration import ConfigurationRoutes
from logplex.api.v3_credentials import CredentialRoutes
from logplex.api.v3_operation import OperationRoutes
from logplex.authentication import Authenticator
from logplex.config import Auth, Limits, Urls
from logplex.interfaces import IConfigStore, IDrains, ISpool
from logplex.registry import Registry
from logplex.rods import Rods
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
