# SPDX-License-Identifier: Apache-2.0

"""A tail's lines: read, chosen, painted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.cli.client.lines import COLOURS, Filter, Line, Painter, harmless, parse_line


class ParseTests(SynchronousTestCase):
    """The fields of a line."""

    def test_message(self) -> None:
        self.assertEqual(
            Line("2026-01-02T03:04:05Z", "app", "web.1", "hello: [you]: x"),
            parse_line(b"2026-01-02T03:04:05Z app[web.1]: hello: [you]: x"),
        )

    def test_several_lines(self) -> None:
        self.assertEqual("a\nb", parse_line(b"T app[web]: a\nb").message)

    def test_notice(self) -> None:
        for data in (b"T logplex[1]: Error L11 (x)", b"T Logplex: Error L20 (x)"):
            self.assertTrue(parse_line(data).is_notice)
        self.assertFalse(parse_line(b"T heroku[logplex]: Error L10 (x)").is_notice)

    def test_anything_else(self) -> None:
        self.assertEqual(Line("", "", None, "what? \ufffd"), parse_line(b"what? \xff"))

    @settings(deadline=None)
    @given(st.binary())
    def test_nothing_is_lost(self, data: bytes) -> None:
        line = parse_line(data)
        ps = "" if line.ps is None else f"[{line.ps}]"
        head = f"{line.time} {line.source}{ps}: " if line.source else ""
        self.assertEqual(data.decode("utf-8", "replace"), head + line.message)


class FilterTests(SynchronousTestCase):
    """The lines that a filter shows."""

    def shown(self, wanted: Filter) -> list[str]:
        lines = [
            Line("T", source, ps, "")
            for source, ps in (
                ("app", "web.1"),
                ("app", "webber.1"),
                ("app", "worker"),
                ("heroku", "router"),
            )
        ]
        return [f"{line.source}[{line.ps}]" for line in lines if wanted.shows(line)]

    def test_all(self) -> None:
        self.assertEqual(4, len(self.shown(Filter())))

    def test_processes(self) -> None:
        """A process has the name of the filter, or this name and a dot, as in sessions."""
        self.assertEqual(["app[web.1]"], self.shown(Filter(processes=["web"])))
        both = self.shown(Filter(processes=["web.1", "worker"]))
        self.assertEqual(["app[web.1]", "app[worker]"], both)

    def test_sources_and_processes(self) -> None:
        wanted = Filter(sources=["app", "cron"], processes=["worker", "router"])
        self.assertEqual(["app[worker]"], self.shown(wanted))

    def test_excluded(self) -> None:
        """A filter excludes sources and processes."""
        wanted = Filter(excluded=["heroku", "web"])
        self.assertEqual(["app[webber.1]", "app[worker]"], self.shown(wanted))

    def test_without_process(self) -> None:
        self.assertFalse(Filter(processes=["web"]).shows(Line("T", "app", None, "")))

    def test_for_session(self) -> None:
        """A session filters by one source and one process; with several it does not filter."""
        self.assertEqual({"source": "app"}, Filter(["app"], ["web", "cron"]).for_session())
        for wanted, is_for_session in (
            (Filter(["app"], ["web"]), True),
            (Filter(["app", "cron"]), False),
            (Filter(excluded=["x"]), False),
        ):
            self.assertEqual(is_for_session, wanted.is_for_session)


class PainterTests(SynchronousTestCase):
    """The lines as a terminal shows them."""

    def test_head_only(self) -> None:
        painted = Painter().paint(Line("T", "app", "web.1", "text"))
        self.assertEqual("\x1b[33m\x1b[22mT app[web.1]:\x1b[0m text", painted)

    def test_one_colour_for_a_kind_of_process(self) -> None:
        painter = Painter()
        heads = [
            painter.paint(Line("", source, ps, "")).partition(" ")[0]
            for source, ps in (("app", "web.1"), ("heroku", "router"), ("app", "web.2"))
        ]
        self.assertEqual(heads[0], heads[2])
        self.assertNotEqual(heads[0], heads[1])

    def test_more_kinds_than_colours(self) -> None:
        painter = Painter()
        heads = [
            painter.paint(Line("", "app", f"ps{number}", "")).partition(" ")[0]
            for number in range(len(COLOURS) + 1)
        ]
        self.assertEqual(len(COLOURS), len(set(heads)))
        self.assertEqual(heads[0], heads[-1])

    def test_later_lines_are_not_those_of_another_source(self) -> None:
        painted = Painter().paint(Line("T", "app", "web.1", "one\nT heroku[api]: two\n"))
        first, *later = painted.split("\n")
        self.assertTrue(first.endswith(" one"))
        self.assertEqual(["    T heroku[api]: two", "    "], later)

    def test_unseen_characters_are_shown(self) -> None:
        for text, shown in (
            ("a\u202eb", "a<U+202E>b"),
            ("pay\u200bpal", "pay<U+200B>pal"),
            ("\u2066x\u2069", "<U+2066>x<U+2069>"),
            ("a\u2028b\ufeff", "a<U+2028>b<U+FEFF>"),
            ("a\u200db", "a<U+200D>b"),
            ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
            ("\u0645\u06cc\u200c\u062e", "\u0645\u06cc\u200c\u062e"),
            ("\U000e0041", "<U+E0041>"),
            ("pay\U0001d173pal\U0001bca0\ufff0", "pay<U+1D173>pal<U+1BCA0><U+FFF0>"),
            ("caf\xe9 \U0001f600", "caf\xe9 \U0001f600"),
        ):
            self.assertEqual(shown, harmless(text))

    def test_colours_hide_nothing(self) -> None:
        for text, shown in (
            ("\x1b[8mconcealed", "concealed"),
            ("\x1b[30;40mblack", "black"),
            ("\x1b[1;41;31mred", "\x1b[1;31mred\x1b[0m"),
            ("\x1b[38;5;0m\x1b[48;2;0;0;0mx", "x"),
            ("\x1b[38;5;8;4mx", "\x1b[4mx\x1b[0m"),
            ("\x1b[38;2mx", "x"),
            ("\x1b[38:5:0mx", "x"),
            ("\x1b[mx", "\x1b[0mx\x1b[0m"),
            ("\x1b[" + "1" * 5_000 + "mx", "x"),
        ):
            self.assertEqual(shown, harmless(text))

    def test_harmless(self) -> None:
        for text, shown in (
            ("plain\ttext\nmore", "plain\ttext\n    more"),
            ("\x1b[31mred", "\x1b[31mred\x1b[0m"),
            ("\x1b]0;title\x07", "�]0;title�\x1b[0m"),
            ("\x1b[2Jclear\r", "�[2Jclear�"),
            ("\x9b2J", "�2J"),
        ):
            self.assertEqual(shown.removesuffix("\x1b[0m"), harmless(text).removesuffix("\x1b[0m"))

    @settings(deadline=None)
    @given(st.text())
    def test_nothing_harmful_comes_through(self, text: str) -> None:
        line = Line(text, text, text, text)
        self.assertNotRegex(
            Painter().paint(line), r"\x1b(?!\[[0-9;:]*m)|[\x00-\x08\x0b-\x1a\x7f-\x9f]"
        )
