# SPDX-License-Identifier: Apache-2.0

"""
The commands of ``logplex``, one module for each subject, and the group that holds them all.
"""

from __future__ import annotations

import click

from logplex import __version__
from logplex.cli.command import examples
from logplex.cli.commands.channels import channel, token
from logplex.cli.commands.credentials import credential
from logplex.cli.commands.drains import drain
from logplex.cli.commands.journal import journal
from logplex.cli.commands.operation import health, rod, shards
from logplex.cli.commands.send import send
from logplex.cli.commands.store import store
from logplex.cli.commands.tail import tail


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "logplex channel create shop --token app",
        "logplex drain add shop https://logs.example.com/shop",
        "my-program | logplex send --token t.…",
        "logplex tail shop",
    ),
)
@click.version_option(__version__, prog_name="logplex")
def logplex() -> None:
    """
    Operate Logplex, and read and write logs.

    Every command has --help. The exit status is 0 for success, 1 if the node rejects the request, 2
    for a wrong command line or setting, 3 if no node can be reached, 4 if the thing does not exist,
    5 if only a part was done, 130 after Ctrl-C.
    """


for _command in (
    channel,
    token,
    drain,
    credential,
    send,
    tail,
    health,
    rod,
    shards,
    store,
    journal,
):
    logplex.add_command(_command)
