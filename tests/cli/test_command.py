# SPDX-License-Identifier: Apache-2.0

"""The node that a command talks to, and its credential."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from click.testing import Result
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from logplex.cli.command import SETTINGS_FILE, make_target, read_settings
from logplex.cli.failures import BadSettings
from logplex.cli.runtime import home_directory
from tests.doubles.commands import CREDENTIAL, CliCase


class MakeTests(CliCase):
    """The target that settings name."""

    def test_defaults(self) -> None:
        target = make_target({})
        self.assertEqual(
            ("http://localhost:8002", "http://localhost:8601", None),
            (target.url, target.logs_url, target.credential),
        )

    def test_logs_beside_the_api(self) -> None:
        for url, logs_url in (
            ("https://logs.example.com/", "https://logs.example.com:8601"),
            ("http://[::1]:8002", "http://[::1]:8601"),
        ):
            self.assertEqual(logs_url, make_target({"url": url}).logs_url)

    def test_password_with_colon(self) -> None:
        self.assertEqual(("id", "a:b"), make_target({"credential": "id:a:b\n"}).credential)

    def test_secrets_do_not_show(self) -> None:
        """A password is neither in the repr of a target nor in an error."""
        self.assertNotIn("hidden", repr(make_target({"credential": "id:hidden"})))
        for name, value in (
            ("credential", "hidden"),
            ("credential", ":hidden"),
            ("url", "http://user:hidden@h"),
            ("logs_url", "http://hidden@h"),
            ("url", "ftp://hidden"),
            ("url", "http://hidden:99999999"),
        ):
            with self.assertRaises(BadSettings) as caught:
                make_target({name: value})
            self.assertNotIn("hidden", caught.exception.message)


class SourceTests(CliCase):
    """The sources of settings: an option overrides a variable, and a variable the file."""

    def write(self, text: str) -> None:
        file = self.home / SETTINGS_FILE
        file.parent.mkdir()
        file.write_text(text)

    def test_no_home(self) -> None:
        """A user without a home directory has no settings file."""

        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        self.patch(Path, "home", no_home)
        self.assertEqual(read_settings(home_directory() / SETTINGS_FILE, False), {})

    def test_file(self) -> None:
        self.write(f'credential = "{CREDENTIAL}"')
        result = self.run_command("channel", "show", "app", credential=None)
        self.assertEqual(0, result.exit_code, result.output)

    def test_environment_over_file(self) -> None:
        self.write('credential = "full:wrong"\nurl = "http://localhost:1"')
        environ = {"LOGPLEX_URL": "http://localhost:8002"}
        result = self.run_command("channel", "show", "app", environ=environ)
        self.assertEqual(0, result.exit_code, result.output)

    def test_option_over_environment(self) -> None:
        result = self.run_command(
            "channel", "show", "app", "--credential", CREDENTIAL, credential="full:wrong"
        )
        self.assertEqual(0, result.exit_code, result.output)

    def test_named_file(self) -> None:
        file = self.home / "other.toml"
        file.write_text(f'credential = "{CREDENTIAL}"')
        result = self.run_command("token", "list", "app", "--config", str(file), credential=None)
        self.assertEqual(0, result.exit_code, result.output)

    def test_named_file_is_missing(self) -> None:
        file = self.home / "none.toml"
        result = self.run_command("token", "list", "app", "--config", str(file))
        self.assertFails(2, f"{file}: there is no such file", result)

    def test_mistakes_in_the_file(self) -> None:
        for text, why in (
            ("password = 'hidden'", 'unknown setting "password"'),
            ("credential = 7", "credential must be a string"),
            ("credential = hidden", "Invalid value (at line 1, column 14)"),
        ):
            file = self.home / "wrong.toml"
            file.write_text(text)
            result = self.run_command("token", "list", "app", "--config", str(file))
            self.assertEqual(2, result.exit_code)
            self.assertIn(why, result.stderr)
            self.assertNotIn("hidden", result.stderr)


class StatusTests(CliCase):
    """The exit status and the line of a command that fails."""

    def test_without_credential(self) -> None:
        result = self.run_command("channel", "show", "app", credential=None)
        self.assertEqual(1, result.exit_code)
        self.assertIn("a credential is needed", result.stderr)

    def test_wrong_credential(self) -> None:
        result = self.run_command("channel", "show", "app", credential="full:hidden")
        self.assertFails(1, "the credential is wrong, or not permitted to do this", result)

    def test_unreachable(self) -> None:
        result = self.run_command("channel", "show", "app", "--api", "http://localhost:1")
        self.assertEqual(3, result.exit_code)
        self.assertIn("http://localhost:1 cannot be reached: ", result.stderr)

    def test_not_now(self) -> None:
        """A request that may succeed later has another exit status than a rejected one."""
        self.rods.now = evolve(self.rods.now, api_status="disabled")
        result = self.run_command("channel", "show", "app")
        self.assertFails(3, "the API is disabled", result)

    def test_wrong_command_line(self) -> None:
        self.assertEqual(2, self.run_command("channel", "show").exit_code)


class OtherServer(Resource):
    """A server that is not Logplex, and gives the same answer to every request."""

    isLeaf = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__()
        self.status = status
        self.body = body

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self.status)
        return self.body


class ApiAddressTests(CliCase):
    """The address of the API, which gets the credential."""

    def test_url_for_a_missing_argument(self) -> None:
        """``--url`` in place of a drain's URL would send the credential to the receiver."""
        for command in ("drain add app", "shards prepare", "channel flags app"):
            result = self.run_command(*command.split(), "--url", "http://localhost:8002")
            self.assertEqual(result.exit_code, 2, command)
            self.assertIn("--url is an old name of --api, and [", result.stderr)
        self.assertEqual(0, self.net.asked)

    def test_old_name(self) -> None:
        result = self.run_command("health", "--url", "http://localhost:8002")
        self.assertEqual(0, result.exit_code)
        self.assertEqual(
            "logplex: --url is an old name of --api, the URL of API v3\n", result.stderr
        )

    def answered_by_another(self, status: int, body: bytes, *arguments: str) -> Result:
        site = Site(OtherServer(status, body), reactor=self.clock)
        self.net.servers[8003] = site
        return self.run_command(*arguments, "--api", "http://localhost:8003")

    def test_another_server(self) -> None:
        """The error says that the server is not Logplex, and is not a bug of the command."""
        for status, body, seen in (
            (200, b"", "http://localhost:8003 answers with something else than a JSON object"),
            (
                200,
                b"<html>",
                "http://localhost:8003 answers with something else than a JSON object",
            ),
            (200, b"[]", "http://localhost:8003 answers with something else than a JSON object"),
            (201, b'"ok"', "http://localhost:8003 answers with something else than a JSON object"),
            (200, b"{}", 'the answer has no member "id"'),
        ):
            result = self.answered_by_another(status, body, "drain", "add", "app", "http://a.b")
            expected = f"{seen}: is --api the URL of API v3 of Logplex?"
            self.assertFails(2, expected, result)

    def test_another_server_refuses(self) -> None:
        for status, exit_status in ((404, 4), (405, 1), (502, 3)):
            result = self.answered_by_another(status, b"no", "channel", "delete", "app")
            self.assertFails(
                exit_status,
                f"http://localhost:8003 answers with status {status} and no reason:"
                " is --api the URL of API v3 of Logplex?",
                result,
            )
