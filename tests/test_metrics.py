# SPDX-License-Identifier: Apache-2.0

"""The exposition: every counter under its name, and what the parts of the node report."""

from __future__ import annotations

from functools import partial

import attrs
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from logplex.metrics import Counters, Sample, Source, counter_samples, exposition


class ExpositionTests(SynchronousTestCase):
    def read(self, *sources: Source) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Return the numbers as a scraper reads them: (name, labels) -> value."""
        families = text_string_to_metric_families(exposition(sources)[0].decode())
        return {
            (sample.name, tuple(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def test_every_counter_is_exported_under_a_name_of_its_own(self) -> None:
        counters = Counters()
        for number, field in enumerate(attrs.fields(Counters), start=1):
            setattr(counters, field.name, number)
        read = self.read(partial(counter_samples, counters))
        self.assertEqual(sorted(read.values()), list(range(1, len(attrs.fields(Counters)) + 1)))
        for name, _ in read:
            self.assertRegex(name, r"\Alogplex_[a-z_]+_total\Z")

    def test_samples_of_one_name_are_one_family(self) -> None:
        def drains() -> list[Sample]:
            return [
                Sample("logplex_drains", "Drains by state", 2, {"state": "idle"}),
                Sample("logplex_other", "Something else", 1),
                Sample("logplex_drains", "Drains by state", 3, {"state": "sending"}),
            ]

        read = self.read(drains)
        self.assertEqual(read["logplex_drains", (("state", "idle"),)], 2)
        self.assertEqual(read["logplex_drains", (("state", "sending"),)], 3)
        self.assertEqual(exposition([drains])[0].count(b"# HELP logplex_drains "), 1)

    def test_a_scrape_shows_the_present_value(self) -> None:
        counters = Counters()
        source = partial(counter_samples, counters)
        counters.received += 7
        self.assertEqual(self.read(source)["logplex_messages_received_total", ()], 7)
