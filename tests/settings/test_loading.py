# SPDX-License-Identifier: Apache-2.0

"""
The configuration: what a file and the environment become, and what each mistake looks like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import attrs
import click
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.credentials import credential_from_file
from logplex.cli.commands import logplex
from logplex.settings import (
    DrainSettings,
    FileCredential,
    Limits,
    Settings,
    SettingsError,
    load_settings,
    unknown_variables,
)
from logplex.settings.environment import COMMAND_VARIABLES, VARIABLES

EXAMPLE = Path(__file__).parents[2] / "etc" / "logplex.toml"


class ConfigTestCase(SynchronousTestCase):
    """Write a settings file and load it."""

    def load(self, toml: str, environ: Mapping[str, str] | None = None) -> Settings:
        self.path = self.mktemp()
        Path(self.path).write_text(toml, "utf-8")
        return load_settings(self.path, environ or {})

    def assert_mistakes(
        self, toml: str, *lines: str, environ: Mapping[str, str] | None = None
    ) -> None:
        """
        The file has exactly these mistakes.

        :param lines: each without what all begin with; ``FILE:`` stands for the file's name.
        """
        with self.assertRaises(SettingsError) as caught:
            self.load(toml, environ)
        self.assertEqual(
            str(caught.exception).splitlines(),
            ["logplex: " + re.sub("^FILE:", f"{self.path}:", line) for line in lines],
        )


class FileTests(ConfigTestCase):
    """The values of a settings file."""

    def test_nothing(self) -> None:
        """An empty file, and no file, mean all defaults."""
        self.assertEqual(self.load(""), Settings())
        self.assertEqual(load_settings(None, {}), Settings())

    def test_loopback(self) -> None:
        """By default no listener can be reached from another machine."""
        listen = attrs.asdict(Settings().listen)
        for name, endpoints in listen.items():
            for endpoint in endpoints:
                self.assertTrue(endpoint.endswith(":interface=127.0.0.1"), name)

    def test_values(self) -> None:
        settings = self.load(
            """
            [node]
            name = "n1"
            [limits]
            syslog_connections = 7
            api_idle_timeout_s = 1.5
            [rods]
            deny_logs_ingress = true
            """
        )
        self.assertEqual(settings.node.name, "n1")
        self.assertEqual(settings.limits.syslog_connections, 7)
        self.assertEqual(settings.limits.api_idle_timeout_s, 1.5)
        self.assertIs(settings.rods.deny_logs_ingress, True)
        self.assertEqual(settings.drains, DrainSettings())

    def test_integer_for_float(self) -> None:
        settings = self.load("[limits]\napi_idle_timeout_s = 2")
        self.assertIsInstance(settings.limits.api_idle_timeout_s, float)

    def test_several(self) -> None:
        """One value, a list, and the empty string, which means none."""
        listen = self.load('[listen]\nsyslog = ["tcp:1", "tcp:2"]\nlogs = "tcp:3"\napi = ""').listen
        self.assertEqual(listen.syslog, ("tcp:1", "tcp:2"))
        self.assertEqual(listen.logs, ("tcp:3",))
        self.assertEqual(listen.api, ())

    def test_credentials(self) -> None:
        settings = self.load(
            """
            [[credentials]]
            id = "a"
            password = "s"
            permissions = ["full_api", "any_channel"]
            [[credentials]]
            id = "b"
            password = "t"
            permissions = "channel:app-1"
            """
        )
        self.assertEqual(
            settings.credentials,
            (
                FileCredential("a", "s", ("full_api", "any_channel")),
                FileCredential("b", "t", ("channel:app-1",)),
            ),
        )
        self.assertEqual(credential_from_file(settings.credentials[1]).channel, "app-1")

    def test_slash_at_the_end(self) -> None:
        settings = self.load('[urls]\napi = "https://logs.example.com/x/"')
        self.assertEqual(settings.urls.api, "https://logs.example.com/x")

    def test_no_secret_shown(self) -> None:
        settings = self.load(
            """
            [auth]
            key = "SECRET"
            [store]
            url = "redis://user:SECRET@localhost"
            [[credentials]]
            id = "a"
            password = "SECRET"
            """
        )
        self.assertNotIn("SECRET", repr(settings))


class MistakeTests(ConfigTestCase):
    """Every mistake is one line that names the file, the section and the option."""

    def test_unreadable(self) -> None:
        with self.assertRaises(SettingsError) as caught:
            load_settings("/nonexistent/file", {})
        self.assertEqual(
            str(caught.exception), "logplex: /nonexistent/file: No such file or directory"
        )

    def test_directory(self) -> None:
        with self.assertRaisesRegex(SettingsError, "^logplex: /: Is a directory$"):
            load_settings("/", {})

    def test_not_utf8(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"# \xff")
        with self.assertRaisesRegex(SettingsError, "^logplex: .*: is not UTF-8 at byte 2$"):
            load_settings(path, {})

    def test_syntax(self) -> None:
        """A mistake of TOML is reported with its line."""
        with self.assertRaisesRegex(SettingsError, r"^logplex: \S+: .* \(at line 2, column 6\)$"):
            self.load("[node]\nname \n[x]")

    def test_nested_too_deeply(self) -> None:
        with self.assertRaisesRegex(SettingsError, "^logplex: .*: is nested too deeply$"):
            self.load("a = " + "[" * 10_000 + "]" * 10_000)

    def test_unknown_section(self) -> None:
        self.assert_mistakes(
            "[limts]\n[zzz]",
            'FILE: [limts]: unknown section; did you mean "limits"?',
            "FILE: [zzz]: unknown section",
        )

    def test_unknown_option(self) -> None:
        self.assert_mistakes(
            "[spool]\nmesages = 1\nzzz = 1",
            'FILE: [spool] mesages: unknown option; did you mean "messages"?',
            "FILE: [spool] zzz: unknown option",
        )

    def test_option_outside(self) -> None:
        self.assert_mistakes("node = 'n1'", "FILE: [node]: must be a section")

    def test_types(self) -> None:
        """A value must have the type of its option; an integer is also a number."""
        cases = {
            "[limits]\nsyslog_connections = true": (
                "[limits] syslog_connections: must be an integer, not true or false"
            ),
            "[limits]\nsyslog_connections = 1.0": (
                "[limits] syslog_connections: must be an integer, not a number"
            ),
            '[limits]\nsyslog_connections = "1"': (
                "[limits] syslog_connections: must be an integer, not a string"
            ),
            "[limits]\napi_idle_timeout_s = []": (
                "[limits] api_idle_timeout_s: must be a number, not a list"
            ),
            "[rods]\ndeny_logs_ingress = 1": (
                "[rods] deny_logs_ingress: must be true or false, not an integer"
            ),
            "[node.name]": "[node] name: must be a string, not a section",
            "[node]\nname = 2020-01-01": "[node] name: must be a string, not a date or time",
            '[listen]\nlogs = ["tcp:1", 2]': "[listen] logs: must be a string, not an integer",
            '[drains]\nhttp_retry_delays_s = [1, "2"]': (
                "[drains] http_retry_delays_s: must be a number, not a string"
            ),
        }
        for toml, line in cases.items():
            self.assert_mistakes(toml, f"FILE: {line}")

    def test_bounds(self) -> None:
        cases = {
            "[spool]\nmessages = 0": "[spool] messages: must be above 0, not 0",
            "[drains]\nlinger_s = -0.1": "[drains] linger_s: must be at least 0, not -0.1",
            "[drains]\nlinger_s = inf": "[drains] linger_s: must be at least 0, not inf",
            "[limits]\napi_idle_timeout_s = nan": (
                "[limits] api_idle_timeout_s: must be above 0, not nan"
            ),
            "[drains]\nhttp_retry_delays_s = [1, -2]": (
                "[drains] http_retry_delays_s: must be at least 0, not -2.0"
            ),
            '[rods]\napi_status = "off"': (
                '[rods] api_status: must be one of normal, read_only, disabled, not "off"'
            ),
            '[log]\nlevel = "loud"': (
                '[log] level: must be one of debug, info, warn, error, critical, not "loud"'
            ),
            '[node]\nname = "a b"': (
                "[node] name: must be printable ASCII characters without space"
            ),
        }
        for toml, line in cases.items():
            self.assert_mistakes(toml, f"FILE: {line}")

    def test_endpoints(self) -> None:
        for text in ("tcp", "tcp:x", "6001", "tcp:1:bla=2", "nonsense:1", "ssl:1:privateKey=/no"):
            with self.assertRaises(SettingsError) as caught:
                self.load(f'[listen]\nsyslog = "{text}"')
            self.assertRegex(
                str(caught.exception),
                rf'^logplex: \S+: \[listen\] syslog: "{text}" is not an endpoint string, .*$',
            )

    def test_endpoint_with_a_bad_key(self) -> None:
        """A mistake that OpenSSL finds is reported like the others."""
        key = Path(self.mktemp()).absolute()
        key.write_text("no key")
        with self.assertRaisesRegex(
            SettingsError, rf'\[listen\] syslog: "ssl:1:.*{key.name}" is no'
        ):
            self.load(f'[listen]\nsyslog = "ssl:1:privateKey={key}"')

    def test_systemd_socket_missing(self) -> None:
        text = "systemd:domain=INET:name=syslog"
        self.assert_mistakes(
            f'[listen]\nsyslog = "{text}"',
            f'FILE: [listen] syslog: "{text}" names a socket that systemd did not pass',
        )

    def test_urls(self) -> None:
        bad = ("", "localhost", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://h/?q")
        for url in bad:
            self.assert_mistakes(
                f'[urls]\napi = "{url}"',
                'FILE: [urls] api: must be a URL like "https://logs.example.com:8001"',
            )
        self.assert_mistakes(
            '[urls]\napi = "http://u:p@h"',
            "FILE: [urls] api: must be a URL without user and password",
        )

    def test_origins(self) -> None:
        origins = ("https://logs.example.com", "http://localhost:3000", "http://[::1]:80", "*")
        settings = self.load(f"[urls]\ncors_origins = {list(origins)}")
        self.assertEqual(origins, settings.urls.cors_origins)
        for wrong in ("logs.example.com", "https://a/", "https://A", "null", "https://*.a"):
            with self.assertRaisesRegex(SettingsError, r"\[urls\] cors_origins: .* not an origin"):
                self.load(f'[urls]\ncors_origins = ["{wrong}"]')

    def test_store(self) -> None:
        """The message never shows the URL, which may contain a password."""
        for url in ("", "sqlite:", "memory:x", "postgres://h", "mysql"):
            self.assert_mistakes(
                f'[store]\nurl = "{url}"',
                'FILE: [store] url: must be "sqlite:FILE", "memory:" or "redis://HOST"',
            )
        for url in ("redis:", "redis://", "redis://:pw@h:x", "redis://h/name", "redis://h?q"):
            self.assert_mistakes(
                f'[store]\nurl = "{url}"',
                'FILE: [store] url: must be a URL like "redis://user:password@host:6379/0#sortkey"',
            )

    def test_sentinels(self) -> None:
        url = "redis+sentinel://u:pw@one:26379,[::1]:2,two/main/3"
        self.assertEqual(self.load(f'[store]\nurl = "{url}"').store.url, url)
        for wrong in ("", ":pw@/main", "one", "one/", "one,/main", "one:0/main", "one/main/x"):
            self.assert_mistakes(
                f'[store]\nurl = "redis+sentinel://{wrong}"',
                'FILE: [store] url: must be a URL like "redis+sentinel://user:password@host:26379,'
                'host:26379/service/0#sortkey"',
            )

    def test_credential_without_password(self) -> None:
        self.assert_mistakes(
            '[[credentials]]\nid = "a"\npassword = "p"\n[[credentials]]\nid = "b"',
            "FILE: [[credentials]] number 2 password: is missing",
        )

    def test_credential(self) -> None:
        cases = {
            'id = "a:b"\npassword = "p"': "id: must have no colon",
            'id = ""\npassword = "p"': "id: must be printable ASCII characters without space",
            'id = "a"\npassword = ""': (
                "password: must be printable ASCII characters without space"
            ),
            'id = "a"\npassword = "p"\npermission = []': (
                'permission: unknown option; did you mean "permissions"?'
            ),
            'id = "a"\npassword = "p"\npermissions = "everything"': (
                'permissions: must be "full_api", "any_channel" or "channel:ID", not "everything"'
            ),
            'id = "a"\npassword = "p"\npermissions = ["any_channel", "channel:a"]': (
                "permissions: must be for one channel or for any channel"
            ),
        }
        for toml, line in cases.items():
            self.assert_mistakes(
                f"[[credentials]]\n{toml}", f"FILE: [[credentials]] number 1 {line}"
            )

    def test_credential_twice(self) -> None:
        self.assert_mistakes(
            '[[credentials]]\nid = "a"\npassword = "p"\n' * 2,
            'FILE: [[credentials]]: "a" is given twice',
        )

    def test_credentials_as_section(self) -> None:
        with self.assertRaisesRegex(
            SettingsError, r"\[\[credentials\]\] number 1 password: is missing"
        ):
            self.load('[credentials]\nid = "a"')

    def test_tls_without_certificate(self) -> None:
        self.assert_mistakes(
            '[listen]\nsyslog_tls = "tcp:6514"',
            "FILE: [tls] certificate_file: is needed by [listen] syslog_tls",
        )

    def test_all_at_once(self) -> None:
        """All mistakes are reported at once, one line each."""
        self.assert_mistakes(
            """
            [node]
            name = 1
            [drains]
            linger_s = -1
            flush_s = -2
            linger = 1
            http_tries = 1.5
            [[credentials]]
            id = "a"
            password = ""
            [[credentials]]
            id = ":"
            """,
            "FILE: [node] name: must be a string, not an integer",
            "FILE: [[credentials]] number 1 password: "
            "must be printable ASCII characters without space",
            "FILE: [[credentials]] number 2 id: must have no colon",
            "FILE: [[credentials]] number 2 password: is missing",
            "FILE: [drains] flush_s: must be at least 0, not -2.0",
            "FILE: [drains] linger_s: must be at least 0, not -1.0",
            "FILE: [drains] http_tries: must be an integer, not a number",
            'FILE: [drains] linger: unknown option; did you mean "linger_s"?',
        )

    def test_no_secret_shown(self) -> None:
        with self.assertRaises(SettingsError) as caught:
            self.load('[auth]\nkey = "SEC RET"\n[[credentials]]\nid = "a"\npassword = "SEC RET"')
        self.assertNotIn("SEC RET", str(caught.exception))


class EnvironmentTests(ConfigTestCase):
    """Variables override the file."""

    def test_unknown(self) -> None:
        """A variable that looks like one of Logplex is named, with the nearest known one."""
        environ = {
            "LOGPLEX_SHARDURLS": "redis://:hidden@localhost",
            "LOGPLEX_SHARD_URLS": "redis://localhost",
            "LOGPLEX_CREDENTIAL": "a:b",
            "LOGPLEX_ZZZZZZZZZZZZZZZZ": "x",
            "PATH": "/bin",
        }
        self.assertEqual(
            unknown_variables(environ),
            [
                "LOGPLEX_SHARDURLS: unknown environment variable;"
                ' did you mean "LOGPLEX_SHARD_URLS"?',
                "LOGPLEX_ZZZZZZZZZZZZZZZZ: unknown environment variable",
            ],
        )

    def test_variables_of_the_command(self) -> None:
        """The variables of the ``logplex`` command are known too."""
        found: set[object] = set()
        groups: list[click.Command] = [logplex]
        while groups:
            command = groups.pop()
            found |= {each.envvar for each in command.params if each.envvar}
            groups += command.commands.values() if isinstance(command, click.Group) else []
        self.assertEqual(found, set(COMMAND_VARIABLES))

    def test_override(self) -> None:
        settings = self.load(
            '[node]\nname = "file"\n[spool]\nmessages = 7', {"INSTANCE_NAME": "environment"}
        )
        self.assertEqual(settings.node.name, "environment")
        self.assertEqual(settings.spool.messages, 7)

    def test_without_file(self) -> None:
        environ = {
            "DENY_TAIL_SESSIONS": "True",
            "DENY_LOGS_INGRESS": "0",
            "HTTP_LOG_INPUT_MAX_CONNECTIONS": "12",
            "LOGPLEX_AUTH_KEY": "c2VjcmV0",
            "LOGPLEX_TLS_MODE": "insecure",
            "LOGPLEX_CONFIG_REDIS_URL": "redis://localhost:6379",
        }
        settings = load_settings(None, environ)
        self.assertIs(settings.rods.deny_tail_sessions, True)
        self.assertIs(settings.rods.deny_logs_ingress, False)
        self.assertEqual(settings.limits.logs_connections, 12)
        self.assertEqual(settings.auth.key, "c2VjcmV0")
        self.assertIs(settings.drains.verify_certificates, False)
        self.assertEqual(settings.store.url, "redis://localhost:6379")

    def test_shards(self) -> None:
        """Commas stand between URLs, and between the Sentinels of one URL."""
        sentinels = "redis+sentinel://:pw@a:1,b:2/main"
        environ = {"LOGPLEX_SHARD_URLS": f"redis://one, {sentinels}#x,{sentinels}#y,redis://two,"}
        found = load_settings(None, environ).store.shards
        expected = ("redis://one", f"{sentinels}#x", f"{sentinels}#y", "redis://two")
        self.assertEqual(found, expected)

    def test_empty(self) -> None:
        """An empty variable counts as not set."""
        self.assertEqual(load_settings(None, {"INSTANCE_NAME": ""}), Settings())

    def test_unparsable(self) -> None:
        for name, value, why in (
            ("DENY_LOGS_INGRESS", "maybe", 'must be true or false, not "maybe"'),
            ("LOGPLEX_TLS_MODE", "off", 'must be secure or insecure, not "off"'),
            ("HTTP_LOG_INPUT_MAX_CONNECTIONS", "many", 'must be a whole number, not "many"'),
        ):
            self.assert_mistakes("", f"{name}: {why}", environ={name: value})

    def test_all_at_once(self) -> None:
        """The mistakes of all variables are reported together with those of the file."""
        self.assert_mistakes(
            "[spool]\nmessages = 0\n[node]\nname = 1",
            'DENY_LOGS_INGRESS: must be true or false, not "maybe"',
            'LOGPLEX_TLS_MODE: must be secure or insecure, not "off"',
            "FILE: [node] name: must be a string, not an integer",
            "FILE: [spool] messages: must be above 0, not 0",
            'API_STATUS: must be one of normal, read_only, disabled, not "off"',
            environ={
                "DENY_LOGS_INGRESS": "maybe",
                "LOGPLEX_TLS_MODE": "off",
                "API_STATUS": "off",
            },
        )

    def test_out_of_bounds(self) -> None:
        """The line names the variable, not the file that it overrides."""
        self.assert_mistakes(
            '[rods]\napi_status = "normal"\n[spool]\nmessages = 0',
            "FILE: [spool] messages: must be above 0, not 0",
            'API_STATUS: must be one of normal, read_only, disabled, not "off"',
            environ={"API_STATUS": "off"},
        )

    def test_file_wrong_too(self) -> None:
        """A section must be a table."""
        self.assert_mistakes(
            "node = 1", "FILE: [node]: must be a section", environ={"INSTANCE_NAME": "n1"}
        )

    def test_every_variable_has_an_option(self) -> None:
        for variable in VARIABLES:
            section = getattr(Settings(), variable.section)
            self.assertTrue(hasattr(section, variable.option), variable.name)


def sections() -> Iterator[tuple[str, type[attrs.AttrsInstance]]]:
    """Yield the name and the class of every section."""
    for field in attrs.fields(Settings):
        if field.name == "credentials":
            yield field.name, FileCredential
        else:
            yield field.name, type(getattr(Settings(), field.name))


class SettingsTests(SynchronousTestCase):
    """The rules for every option."""

    def test_bounds(self) -> None:
        """Every number has a bound: its field is made by a function of settings.bounds."""
        unbounded = [
            f"[{name}] {field.name}"
            for name, section in sections()
            for field in attrs.fields(section)
            if field.type in ("int", "float", int, float) and field.validator is None
        ]
        self.assertEqual(unbounded, [])

    def test_units(self) -> None:
        """The name of a time ends in its unit."""
        for field in (*attrs.fields(Limits), *attrs.fields(DrainSettings)):
            if isinstance(field.default, float):
                self.assertTrue(field.name.endswith("_s"), field.name)


class ExampleTests(SynchronousTestCase):
    """``etc/logplex.toml`` shows every option with its default and a comment."""

    def shown(self) -> dict[str, list[str]]:
        """Return the options of each section in order, also those that are commented out."""
        found: dict[str, list[str]] = {}
        options: list[str] = []
        for line in EXAMPLE.read_text("utf-8").splitlines():
            if header := re.fullmatch(r"(?:# )?\[+(\w+)\]+", line):
                options = found.setdefault(header[1], [])
            elif option := re.match(r"(?:# )?(\w+) = ", line):
                options.append(option[1])
        return found

    def test_complete(self) -> None:
        """Sections and options are those of the settings classes, in their order."""
        known = {name: [field.name for field in attrs.fields(of)] for name, of in sections()}
        self.assertEqual(self.shown(), known)

    def test_defaults(self) -> None:
        self.assertEqual(load_settings(str(EXAMPLE), {}), Settings())

    def test_works_with_everything_uncommented(self) -> None:
        """The file is correct with every comment of an option removed."""
        path = self.mktemp()
        text = re.sub(
            r"^# (\[\[?\w+\]\]?$|\w+ = )", r"\1", EXAMPLE.read_text("utf-8"), flags=re.MULTILINE
        )
        Path(path).write_text(text, "utf-8")
        settings = load_settings(path, {})
        self.assertEqual(settings.node.name, "host-1")
        self.assertEqual(
            settings.credentials,
            (FileCredential("local", "password", ("full_api", "any_channel")),),
        )

    def test_comments(self) -> None:
        """A comment explains the first option of every section, and of every group of options."""
        lines = EXAMPLE.read_text("utf-8").splitlines()
        for before, line in pairwise(lines):
            if re.match(r"\[(?!credentials)", before):
                self.assertTrue(line.startswith("# "), f"{before} begins without a comment")


class ManualTests(SynchronousTestCase):
    """``docs/settings.md``"""

    def setUp(self) -> None:
        self.text = (EXAMPLE.parent.parent / "docs" / "settings.md").read_text("utf-8")

    def test_sections(self) -> None:
        """The table has every section, in the order of the file."""
        rows = re.findall(r"^\| `\[+(\w+)\]+` \|", self.text, flags=re.MULTILINE)
        self.assertEqual(rows, [name for name, _ in sections()])

    def test_variables(self) -> None:
        """The table has every variable and its option, and no other."""
        rows = re.findall(
            r"^\| `([A-Z0-9_]+)` \| `\[(\w+)\] (\w+)` \|$",
            self.text,
            flags=re.MULTILINE,
        )
        self.assertEqual(rows, [(each.name, each.section, each.option) for each in VARIABLES])
