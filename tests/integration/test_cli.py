# SPDX-License-Identifier: Apache-2.0

"""
The ``logplex`` command as a process, against a real node or a store.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from signal import SIGINT

from twisted.trial.unittest import SkipTest

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node
from tests.integration.process import Child, Ended, until, within
from tests.integration.receivers import HttpReceiver
from tests.integration.redis_server import INSTALLED, RedisServer
from tests.integration.senders import numbers_in


def logplex(node: Node, *arguments: str | Path, environ: Mapping[str, str] | None = None) -> Child:
    """Start a command that talks to this node with every permission."""
    variables = {
        "LOGPLEX_URL": f"http://127.0.0.1:{node.ports['api_v3']}",
        "LOGPLEX_LOGS_URL": f"http://127.0.0.1:{node.ports['logs']}",
        "LOGPLEX_CREDENTIAL": ":".join(CREDENTIAL),
        "HOME": str(node.directory),
        **(environ or {}),
    }
    command = [sys.executable, "-m", "logplex.cli.main", *arguments]
    return Child.spawn(command, node.directory, variables)


class CommandCase(IntegrationTestCase):
    """Whole commands, from their start to their status."""

    def start(self, node: Node, *arguments: str, **environ: str) -> Child:
        child = logplex(node, *arguments, environ=environ)
        self.addCleanup(child.end)
        return child

    async def done(self, node: Node, *arguments: str, **environ: str) -> Ended:
        return await within(self.start(node, *arguments, **environ).ended(), "the command ends")


class CommandTests(CommandCase):
    """Commands in processes of their own."""

    async def test_channel(self) -> None:
        node = await self.node()
        made = await self.done(node, "channel", "create", "shop", "--token", "app")
        self.assertEqual(made.status, 0, made)
        token = made.output.split()[-1]
        self.assertEqual(
            (await node.request("GET", "/v3/channels/shop")).json()["tokens"], {"app": token}
        )

    async def test_statuses(self) -> None:
        node = await self.node()
        self.assertEqual((await self.done(node, "channel", "show", "none")).status, 4)
        wrong = await self.done(node, "channel", "show", "none", LOGPLEX_CREDENTIAL="a:hidden")
        self.assertEqual(wrong.status, 1)
        self.assertNotIn("hidden", wrong.output)
        await node.kill()
        self.assertEqual((await self.done(node, "channel", "show", "none")).status, 3)


class ProcessTests(CommandCase):
    """The standard streams, the arguments and the signals of a command."""

    async def shell(self, line: str, **environ: str) -> Ended:
        """Run a command line of a shell, without the settings of a user."""
        command = line.replace("logplex", f'"{sys.executable}" -m logplex.cli.main', 1)
        home = self.directory()
        child = Child.spawn(["/bin/sh", "-c", command], home, {"HOME": str(home), **environ})
        self.addCleanup(child.end)
        return await within(child.ended(), "the command ends")

    async def test_full_disk(self) -> None:
        ended = await self.shell("logplex --help >/dev/full")
        self.assertEqual(
            (ended.status, ended.output),
            (1, "logplex: the output cannot be written: No space left on device"),
        )

    async def test_closed_streams(self) -> None:
        ended = await self.shell("logplex --help >&-")
        self.assertEqual(
            (ended.status, ended.output),
            (1, "logplex: the output cannot be written: Bad file descriptor"),
        )
        ended = await self.shell("logplex send --token x --json <&-")
        self.assertEqual((ended.status, ended.output), (0, '{"delivered": 0}'))
        ended = await self.shell("logplex health --api http://127.0.0.1:1 2>&-")
        self.assertEqual((ended.status, ended.output), (3, ""))

    async def test_terminal_of_another_encoding(self) -> None:
        ended = await self.shell("logplex --help", PYTHONIOENCODING="latin-1")
        self.assertEqual(ended.status, 0)
        self.assertIn("logplex send --token t.?", ended.output)

    async def hidden(self) -> Child:
        """Start a command with a secret among its arguments, and wait until it is hidden."""
        child = Child.spawn(
            [sys.executable, "-m", "logplex.cli.main", "send", "--token", "t.secret"],
            self.directory(),
        )
        self.addCleanup(child.end)

        async def is_hidden() -> bool:
            arguments = Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")
            return arguments[-3:-1] == [b"--token", b"xxxxxxxx"]

        await until(is_hidden, "the token is hidden")
        return child

    async def test_secret_arguments(self) -> None:
        """Other users of the machine do not see the secrets of a command."""
        await self.hidden()

    async def test_interrupted_at_its_start(self) -> None:
        """Ctrl-C ends a command that still loads its modules, without a traceback."""
        child = await self.hidden()
        child.signal(SIGINT)
        ended = await within(child.ended(), "the command ends")
        self.assertEqual((ended.status, ended.output), (130, ""))


class SendTests(CommandCase):
    """``logplex send``"""

    async def test_once_and_in_order(self) -> None:
        receiver = self.receiver(HttpReceiver())
        node = await self.node({"drains": {"buffer_messages": 10_000}})
        token = await node.channel("app-1", [receiver.url])
        child = self.start(node, "send", "--ps", "seq.1", "--json", LOGPLEX_TOKEN=token)
        child.write("\n".join(f"number={number}" for number in range(5_000)))
        child.transport.closeStdin()
        ended = await within(child.ended(), "everything is sent")
        self.assertEqual((ended.status, ended.output), (0, '{"delivered": 5000}'))
        frames = await receiver.received(5_000)
        self.assertEqual(numbers_in(frames), list(range(5_000)))
        self.assertRegex(frames[0], rb"^<14>1 \S+ host app seq\.1 - number=0$")

    async def test_from_a_file(self) -> None:
        """A regular file is never "readable" for epoll."""
        node = await self.node()
        token = await node.channel("app-1")
        lines = node.directory / "lines"
        lines.write_text("one\ntwo")
        command = f'"{sys.executable}" -m logplex.cli.main send --json <"{lines}"'
        child = Child.spawn(
            ["/bin/sh", "-c", command],
            node.directory,
            {
                "LOGPLEX_LOGS_URL": f"http://127.0.0.1:{node.ports['logs']}",
                "LOGPLEX_TOKEN": token,
            },
        )
        self.addCleanup(child.end)
        ended = await within(child.ended(), "everything is sent")
        self.assertEqual((ended.status, ended.output), (0, '{"delivered": 2}'))

    async def test_node_restarts(self) -> None:
        """Lines wait for it."""
        node = await self.node()
        token = await node.channel("app-1")
        port = node.ports["logs"]
        node.configure({"listen": {"logs": f"tcp:{port}:interface=127.0.0.1"}})
        await node.terminate()
        child = self.start(node, "send", LOGPLEX_TOKEN=token)
        child.write("number=1")
        child.transport.closeStdin()
        await within(child.seen("cannot be reached: .*; trying again for 120 s"), "it is told")
        await node.start()
        ended = await within(child.ended(), "everything is sent")
        self.assertEqual((ended.status, len(ended.output.splitlines())), (0, 1))
        answer = await node.request("GET", "/v3/channels/app-1/logs")
        self.assertEqual(answer.headers["logplex-msg-count"], "1")


class StoreTests(CommandCase):
    """Stores without a node."""

    async def alone(self, *arguments: str | Path) -> Ended:
        """A command that knows of no node."""
        child = Child.spawn(
            [sys.executable, "-m", "logplex.cli.main", *arguments],
            self.home,
            {"HOME": str(self.home)},
        )
        self.addCleanup(child.end)
        return await within(child.ended(), "the command ends")

    async def succeeds(self, *arguments: str | Path) -> str:
        ended = await self.alone(*arguments)
        self.assertEqual(ended.status, 0, ended)
        return ended.output

    def setUp(self) -> None:
        self.home = self.directory()

    async def test_first_credential(self) -> None:
        """Made before there is a node; it opens the node that starts then."""
        node = Node(self.directory())
        file = node.directory / "logplex.db"
        make = ["credential", "create", "boss", "--permission", "full_api", "--store", str(file)]
        made = await self.succeeds(*make)
        again = await self.alone(*make)
        self.assertEqual((again.status, again.output), (1, "logplex: already exists"))
        self.addCleanup(node.kill)
        await node.start()
        shown = await self.done(node, "credential", "list", LOGPLEX_CREDENTIAL=made)
        self.assertEqual(shown.status, 0, shown)
        self.assertRegex(shown.output, r"(?m)^boss +full_api +store")
        held = await self.alone("store", "export", "-", "--store", str(file))
        self.assertEqual(held.status, 1)
        self.assertIn("is in use by another process", held.output)

    async def test_no_store(self) -> None:
        """Nothing is made where something is only read."""
        ended = await self.alone("store", "export", "-", "--store", "none.db")
        self.assertEqual((ended.status, ended.output), (4, "logplex: there is no such file"))
        self.assertFalse((self.home / "none.db").exists())

    async def test_move_to_redis(self) -> None:
        """From an embedded store through a file into Redis, and back: nothing changes."""
        if INSTALLED is None:
            raise SkipTest("there is no redis-server on the PATH")
        node = await self.node()
        token = await node.channel("shop", ["http://127.0.0.1:1/x"])
        exported = self.home / "from-node.json"
        ended = await self.done(node, "store", "export", str(exported))
        self.assertEqual(ended.output, "exported 1 channels, 1 tokens, 1 drains, 0 credentials")
        await node.terminate()

        redis = RedisServer(self.directory(), INSTALLED, password="hidden")
        self.addCleanup(redis.kill)
        await redis.start()
        told = await self.succeeds("store", "import", str(exported), "--store", redis.url)
        self.assertEqual(told, "imported 1 channels, 1 tokens, 1 drains, 0 credentials")
        back = self.home / "from-redis.json"
        await self.succeeds("store", "export", str(back), "--store", redis.url)
        self.assertEqual(json.loads(back.read_text()), json.loads(exported.read_text()))

        node.configure({"store": {"url": redis.url}})
        await node.start()
        channel = (await node.request("GET", "/v3/channels/shop")).json()
        self.assertEqual(channel["tokens"], {"app": token})
        added = await node.request("POST", "/v3/channels/shop/drains", {})
        self.assertEqual(added.json()["id"], 2)
