# SPDX-License-Identifier: Apache-2.0

"""The activity of a channel, as its owner sees it on a real node."""

from __future__ import annotations

from typing import Any

from tests.integration.cases import IntegrationTestCase
from tests.integration.process import until
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import numbered, octet_counted, post, send


class ActivityTests(IntegrationTestCase):
    async def test_what_came_and_what_became_of_it(self) -> None:
        node = await self.node()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("shop", [receiver.url])
        owner = {"id": "owner", "permissions": ["channel:shop"]}
        password = (await node.request("POST", "/v3/credentials", owner)).json()["password"]
        await send(node.ports["syslog"], octet_counted(numbered(token, range(10))))
        await receiver.received(10)
        headers = {"Content-Type": "text/plain"}
        refused = await post(node.ports["logs"], [b"x"], ("token", token), headers)
        self.assertEqual(415, refused)
        shown: Any = {}

        async def settled() -> bool:
            answer = await node.request(
                "GET", "/v3/channels/shop/activity", auth=("owner", password)
            )
            shown.update(answer.json())
            return bool(shown["drains"][0].get("delivered") == 10)

        await until(settled, "the drain has delivered all")
        self.assertEqual(("shop", 10), (shown["channel"], shown["received"]))
        self.assertEqual([415], [each["status"] for each in shown["refused"]])
        self.assertEqual(receiver.url.partition("/")[0], shown["drains"][0]["to"].partition("/")[0])
        self.assertLess(abs(shown["at"] - shown["last_received_at"]), 60)
        await send(node.ports["syslog"], octet_counted(numbered(token, [10])))
        await receiver.received(11)
        answer = await node.request("GET", "/v3/channels/shop/activity", auth=("owner", password))
        sources = answer.json()["sources"]
        self.assertEqual([("app", 1)], [(each["source"], each["received"]) for each in sources])
