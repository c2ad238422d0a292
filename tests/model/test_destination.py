# SPDX-License-Identifier: Apache-2.0

"""The rules for drain URLs."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.model.destination import (
    MAX_URL_CHARACTERS,
    BadDestination,
    Destination,
    HttpDestination,
    SyslogDestination,
    UdpDestination,
    parse_destination,
)


def http(url: str) -> HttpDestination:
    destination = parse_destination(url)
    assert isinstance(destination, HttpDestination)
    return destination


class GoodUrls(SynchronousTestCase):
    def test_plain(self) -> None:
        """Scheme, host, port and what the request says are read from the URL."""
        destination = http("http://logs.example.com:8080/in/x?key=a%20b")
        self.assertEqual(
            (destination.scheme, destination.host, destination.port),
            ("http", "logs.example.com", 8080),
        )
        self.assertEqual(destination.authority, b"logs.example.com:8080")
        self.assertEqual(destination.target, b"/in/x?key=a%20b")
        self.assertFalse(destination.tls)
        self.assertIsNone(destination.basic_auth)

    def test_default_ports(self) -> None:
        """A URL without port means the scheme's own, and the Host header does not name it."""
        for url, port in (("http://h", 80), ("https://h", 443), ("http://h:", 80)):
            self.assertEqual(http(url).port, port)
            self.assertEqual(http(url).authority, b"h")

    def test_tls(self) -> None:
        """https means TLS, verified."""
        destination = http("https://h/")
        self.assertTrue(destination.tls)
        self.assertTrue(destination.verify)

    def test_insecure(self) -> None:
        """The fragment turns verification off, and is not sent."""
        destination = http("https://h/x#insecure")
        self.assertFalse(destination.verify)
        self.assertEqual(destination.target, b"/x")
        self.assertTrue(http("https://h/x#other").verify)

    def test_syslog(self) -> None:
        """All names of a kind are that kind, and keep their names."""
        for scheme, tls, port in (
            ("syslog", False, 601),
            ("tcpsyslog", False, 601),
            ("syslog+tcp", False, 601),
            ("syslog+tls", True, 6514),
        ):
            destination = parse_destination(f"{scheme}://u:p@h/path#insecure")
            assert isinstance(destination, SyslogDestination)
            self.assertEqual((destination.tls, destination.port), (tls, port))
            self.assertEqual(destination.public, f"{scheme}://h:{port}")
            self.assertFalse(destination.verify)

    def test_udp(self) -> None:
        for scheme in ("syslog+udp", "udpsyslog"):
            destination = parse_destination(f"{scheme}://h")
            assert isinstance(destination, UdpDestination)
            self.assertEqual(destination.public, f"{scheme}://h:514")

    def test_scheme_and_host_without_case(self) -> None:
        destination = http("HTTP://Logs.Example.COM/Path")
        self.assertEqual(destination.public, "http://logs.example.com:80")
        self.assertEqual(destination.target, b"/Path")

    def test_ipv6(self) -> None:
        """An IPv6 literal loses its brackets as a host, and has them elsewhere."""
        destination = http("http://[2001:DB8::1]:81/")
        self.assertEqual(destination.host, "2001:db8::1")
        self.assertEqual(destination.authority, b"[2001:db8::1]:81")
        self.assertEqual(destination.public, "http://[2001:db8::1]:81")

    def test_ipv4(self) -> None:
        self.assertEqual(http("http://127.0.0.1/").host, "127.0.0.1")

    def test_idna(self) -> None:
        """A name that is not ASCII is encoded; a dot at its end is left out."""
        self.assertEqual(http("http://Bücher.example.").host, "xn--bcher-kva.example")

    def test_names_of_internal_hosts(self) -> None:
        """Not names as RFC 952 wants them, but names that resolvers know."""
        for host in ("my_app", "_a.b_", "ab--cd.example", "a" * 63):
            self.assertEqual(http(f"http://{host.upper()}").host, host)

    def test_user_info(self) -> None:
        """User and password are percent-decoded, also to bytes that are no text."""
        self.assertEqual(http("http://u%20s:p%40%ff@h").basic_auth, b"u s:p@\xff")
        self.assertEqual(http("http://token@h").basic_auth, b"token:")
        self.assertEqual(http("http://u:p:q@h").basic_auth, b"u:p:q")
        self.assertIsNone(http("http://@h").basic_auth)

    def test_target_without_path(self) -> None:
        """A request line always has a path."""
        self.assertEqual(http("http://h").target, b"/")
        self.assertEqual(http("http://h?a=b").target, b"/?a=b")

    def test_target_not_ascii(self) -> None:
        self.assertEqual(http("http://h/ü").target, b"/%C3%BC")

    def test_with_port(self) -> None:
        """The URL as it was given, but with the port that is used."""
        for given_url, shown in (
            ("http://u:p@H/x?y#z", "http://u:p@H:80/x?y#z"),
            ("https://[::1]", "https://[::1]:443"),
            ("http://h:8080/", "http://h:8080/"),
            ("syslog://h", "syslog://h:601"),
        ):
            self.assertEqual(parse_destination(given_url).with_port, shown)


class Secrets(SynchronousTestCase):
    def test_public(self) -> None:
        """The public form shows neither user info nor path nor query."""
        self.assertEqual(
            parse_destination("https://user:pa%40ss@h/path?query#f").public, "https://h:443"
        )

    def test_repr(self) -> None:
        """A destination in a log line or traceback shows no more than its public form."""
        shown = repr(parse_destination("https://user:word@h/secretpath?secretquery"))
        for secret in ("user", "word", "secretpath", "secretquery"):
            self.assertNotIn(secret, shown)


class BadUrls(SynchronousTestCase):
    def reason(self, url: str) -> str:
        refused: BadDestination = self.assertRaises(BadDestination, parse_destination, url)
        return refused.reason

    def test_form(self) -> None:
        for url in ("", "h", "h:80", "//h", "http:h", "http:/h", "://h", "1http://h", "/http://h"):
            self.assertIn("scheme://host:port", self.reason(url))

    def test_scheme(self) -> None:
        """The text names the schemes that there are."""
        self.assertIn("http, https, syslog, ", self.reason("ftp://h"))

    def test_host_missing(self) -> None:
        for url in ("http://", "http:///path", "http://:80", "http://user@", "http://[]:80"):
            self.assertIn("no host", self.reason(url))

    def test_port(self) -> None:
        for url in ("http://h:0", "http://h:65536", "http://h:" + "9" * 4000):
            self.assertIn("between 1 and 65535", self.reason(url))
        for url in ("http://h:port", "http://h:-1", "http://h:80:80", "http://::1", "http://h:²"):
            self.assertIn("the port must be a number", self.reason(url))

    def test_host_name(self) -> None:
        for url in (
            "http://a..b",
            "http://a_b\u00e9",
            "http://-a",
            "http://a-",
            "http://xn--a",
            "http://" + "a" * 64,
            "http://a%20b",
        ):
            self.assertIn("not a valid host name", self.reason(url))
        for url in ("http://h../", "http://127.0.0.1../"):
            self.assertIn("not a valid host name", self.reason(url))

    def test_addresses(self) -> None:
        """
        Only the usual form of an address is accepted; other forms that resolvers know are refused.
        """
        for url in ("http://127.1", "http://0x7f000001", "http://2130706433", "http://1.2.3.256"):
            self.assertIn("not an IPv4 address", self.reason(url))
        self.assertIn("not an IPv6 address", self.reason("http://[1.2.3.4]"))
        self.assertIn("zone", self.reason("http://[fe80::1%25eth0]"))

    def test_characters(self) -> None:
        """Nothing can add a line to a request."""
        for url in (
            "http://h/a b",
            "http://h/\r\nX: y",
            "http://h\t",
            "http://h/\x00",
            " http://h",
        ):
            self.assertIn("spaces or control characters", self.reason(url))
        self.assertIn("spaces or control characters", self.reason("http://h/\ud800"))

    def test_backslash(self) -> None:
        """Some readers take a backslash for a slash, so what the host is would be a matter of
        opinion."""
        self.reason("http://good.example\\@evil.example/")

    def test_length(self) -> None:
        self.assertIn(str(MAX_URL_CHARACTERS), self.reason("http://h/" + "x" * MAX_URL_CHARACTERS))

    def test_user_with_colon(self) -> None:
        """The receiver would take the colon for the end of the user's name."""
        self.assertIn("colon", self.reason("http://a%3Ab:secret@h"))

    def test_reasons_are_not_secret(self) -> None:
        for url in ("http://s3cret@", "http://s3cret@h:x", "http://s3cret:a@-c", "s3cret://h"):
            self.assertNotIn("s3cret", self.reason(url))


class Receivers(SynchronousTestCase):
    """Two URLs of one receiver are known as such."""

    def assert_same(self, *urls: str) -> None:
        self.assertEqual(len({parse_destination(url).receiver for url in urls}), 1, urls)

    def assert_different(self, *urls: str) -> None:
        self.assertEqual(len({parse_destination(url).receiver for url in urls}), len(urls))

    def test_letters_and_ports(self) -> None:
        self.assert_same("http://h", "HTTP://H/", "http://h:80", "http://h.:80/", "http://h:/")
        self.assert_same("https://b\u00fccher.example", "https://XN--BCHER-KVA.example:443/")
        self.assert_same("http://[::1]/", "http://[0:0:0:0:0:0:0:1]:80/")

    def test_paths(self) -> None:
        self.assert_same(
            "http://h/a/b?q=1",
            "http://h/./a/b?q=1",
            "http://h/a/./b?q=1",
            "http://h/x/../a/b?q=1",
            "http://h/../a/b?q=1",
            "http://h/%61/%2e/b?q=%31",
        )
        self.assert_same("http://h/a/", "http://h/a/.", "http://h/a/b/..", "http://h/a/b/../")
        self.assert_same("http://h/%c3%a9", "http://h/\u00e9", "http://h/%C3%A9")
        self.assert_same("http://h/", "http://h/..", "http://h/../..", "http://h/.")

    def test_aliases(self) -> None:
        self.assert_same("syslog://h", "tcpsyslog://h:601", "syslog+tcp://H")
        self.assert_same("syslog+udp://h", "udpsyslog://h:514")
        self.assert_same("syslog+tls://h", "syslog+tls://h:6514#insecure")

    def test_verification(self) -> None:
        self.assert_same("https://h/a", "https://h/a#insecure")

    def test_users(self) -> None:
        self.assert_same("http://us:p%61@h", "http://us:pa@h")
        self.assert_different("http://h", "http://us:pa@h", "http://us:pb@h")

    def test_different(self) -> None:
        self.assert_different(
            "http://h",
            "https://h",
            "http://h:8080",
            "http://i",
            "http://h/a",
            "http://h/a/",
            "http://h/A",
            "http://h/a%2Fb",
            "http://h/a/b",
            "http://h/a?b",
            "http://h//a",
            "syslog://h",
            "syslog+udp://h",
            "syslog+tls://h",
        )


class AnyText(SynchronousTestCase):
    @settings(deadline=None)
    @given(st.one_of(st.text(), st.text().map("http://".__add__), st.text("htp:/.[]@1%a#?\\")))
    @example("http://[::ffff:1.2.3.4")
    def test_any_text(self, url: str) -> None:
        """Every text is a destination or is refused with a reason."""
        try:
            destination: Destination = parse_destination(url)
        except BadDestination as refused:
            self.assertTrue(refused.reason)
        else:
            self.assertTrue(destination.host)
            again = parse_destination(destination.with_port)
            self.assertEqual(again.receiver, destination.receiver)
            self.assertEqual(
                (again.host, again.port, again.public),
                (destination.host, destination.port, destination.public),
            )

    @settings(deadline=None)
    @given(
        st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?\.example", fullmatch=True).filter(
            lambda host: host[2:4] != "--"
        ),
        st.integers(1, 65_535),
        st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")),
    )
    def test_round_trip(self, host: str, port: int, path: str) -> None:
        """Host, port and target come out as they were put in."""
        destination = http(f"http://{host}:{port}/{path}")
        self.assertEqual((destination.host, destination.port), (host, port))
        self.assertEqual(destination.target, f"/{path}".encode())
