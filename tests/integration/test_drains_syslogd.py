# SPDX-License-Identifier: Apache-2.0

"""Syslog drains into what people run: syslog-ng and rsyslog from Debian."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import trustme
from attrs import evolve
from twisted.trial.unittest import SkipTest

from logplex.model.values import Drain
from logplex.settings import DrainSettings
from tests.integration.drains import DrainsTestCase
from tests.integration.process import Child, until

COUNT = 1_000

#: What both write for each message: drain token, source, process, text.
_SYSLOG_NG = """@version: 3.38
options {{ keep-hostname(yes); use-dns(no); flush-lines(1); stats-freq(0); }};
source tcp {{ syslog(ip("127.0.0.1") port({port}) transport("tcp")); }};
source udp {{ syslog(ip("127.0.0.1") port({port}) transport("udp") so-rcvbuf(4000000)); }};
source tls {{ syslog(ip("127.0.0.1") port({tls_port}) transport("tls")
  tls(key-file("{directory}/key.pem") cert-file("{directory}/cert.pem")
      peer-verify(optional-untrusted))); }};
destination file {{ file("{directory}/out" template("$HOST $PROGRAM $PID $MSG\\n")); }};
log {{ source(tcp); source(udp); source(tls); destination(file); }};
"""

_RSYSLOG = """global(workDirectory="{directory}")
module(load="imtcp")
module(load="imudp")
template(name="line" type="string" string="%HOSTNAME% %APP-NAME% %PROCID% %msg%\\n")
input(type="imtcp" address="127.0.0.1" port="{port}")
input(type="imudp" address="127.0.0.1" port="{port}" rcvbufSize="4000000")
*.* action(type="omfile" file="{directory}/out" template="line")
"""

_RSYSLOG_TLS = """global(workDirectory="{directory}"
  defaultNetstreamDriverCAFile="{directory}/ca.pem"
  defaultNetstreamDriverCertFile="{directory}/cert.pem"
  defaultNetstreamDriverKeyFile="{directory}/key.pem")
module(load="imtcp"
  streamDriver.name="{driver}" streamDriver.mode="1" streamDriver.authMode="anon")
template(name="line" type="string" string="%HOSTNAME% %APP-NAME% %PROCID% %msg%\\n")
input(type="imtcp" address="127.0.0.1" port="{tls_port}")
*.* action(type="omfile" file="{directory}/out" template="line")
"""

#: rsyslog's TLS drivers, and the Debian packages that they come in.
_TLS_DRIVERS = {"gtls": "rsyslog-gnutls", "ossl": "rsyslog-openssl"}


def find(program: str) -> str:
    """Its path; a test that needs what is not there is skipped."""
    found = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        raise SkipTest(f"{program} is not installed")
    return found


def free_port() -> int:
    """Return a free port, for TCP or UDP; these daemons cannot choose one themselves."""
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        port: int = tcp.getsockname()[1]
        return port


class SyslogdTestCase(DrainsTestCase):
    """A daemon that writes what it receives into a file."""

    def setUp(self) -> None:
        self.directory_ = self.directory()
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(self.directory_ / "ca.pem"))
        leaf = self.authority.issue_cert("localhost")
        leaf.private_key_pem.write_to_path(str(self.directory_ / "key.pem"))
        leaf.cert_chain_pems[0].write_to_path(str(self.directory_ / "cert.pem"))
        self.options = evolve(DrainSettings(), ca_file=str(self.directory_ / "ca.pem"))
        super().setUp()
        self.port, self.tls_port = free_port(), free_port()

    @property
    def out(self) -> Path:
        return self.directory_ / "out"

    def configure(self, template: str, **fields: str) -> Path:
        path = self.directory_ / "syslogd.conf"
        path.write_text(
            template.format(
                directory=self.directory_, port=self.port, tls_port=self.tls_port, **fields
            )
        )
        return path

    def spawn(self, *arguments: str | Path) -> Child:
        child = Child.spawn(arguments, self.directory_)
        self.addCleanup(child.end)
        return child

    async def listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    async def run_daemon(self, *arguments: str | Path) -> None:
        """Start it, and wait until it listens."""
        self.spawn(*arguments)
        await until(lambda: self.listens(self.port), "the daemon listens")

    async def assert_arrives(self, drain: Drain) -> None:
        """Every message, once and in order, with the drain's token as its host."""
        for first in range(0, COUNT, 100):
            self.push(drain, first, 100)
        await self.settled(drain)

        async def look() -> bool:
            return self.out.exists() and self.out.read_bytes().count(b"\n") >= COUNT

        await until(look, f"{COUNT} lines")
        lines = self.out.read_text().splitlines()
        expected = [f"{drain.token} app web.1 number {number}" for number in range(COUNT)]
        self.assertEqual([" ".join(line.split()) for line in lines], expected)


class SyslogNgTests(SyslogdTestCase):
    async def syslog_ng(self) -> None:
        directory = self.directory_
        program = find("syslog-ng")
        await self.run_daemon(
            program,
            "--foreground",
            "--no-caps",
            f"--cfgfile={self.configure(_SYSLOG_NG)}",
            f"--pidfile={directory / 'pid'}",
            f"--persist-file={directory / 'persist'}",
            f"--control={directory / 'control'}",
            "--stderr",
        )

    async def test_tcp(self) -> None:
        await self.syslog_ng()
        await self.assert_arrives(self.drain(f"syslog://127.0.0.1:{self.port}"))

    async def test_tls(self) -> None:
        await self.syslog_ng()
        await self.assert_arrives(self.drain(f"syslog+tls://localhost:{self.tls_port}"))

    async def test_udp(self) -> None:
        await self.syslog_ng()
        await self.assert_arrives(self.drain(f"syslog+udp://127.0.0.1:{self.port}"))


class RsyslogTests(SyslogdTestCase):
    async def rsyslog(self) -> None:
        program = find("rsyslogd")
        pid_file = self.directory_ / "pid"
        await self.run_daemon(program, "-n", "-f", self.configure(_RSYSLOG), "-i", pid_file)

    async def rsyslog_tls(self, driver: str) -> bool:
        """Start it; whether it has this driver. Without, it runs all the same, but is deaf."""
        program = find("rsyslogd")
        configuration = self.configure(_RSYSLOG_TLS, driver=driver)
        pid_file = self.directory_ / f"pid-{driver}"
        child = self.spawn(program, "-n", "-f", configuration, "-i", pid_file)
        missing = f"could not load module 'lmnsd_{driver}'"

        async def look() -> str | None:
            if any(missing in line for line in child.lines):
                return "missing"
            return "listens" if await self.listens(self.tls_port) else None

        return await until(look, "rsyslogd listens, or has no driver") == "listens"

    async def test_tcp(self) -> None:
        await self.rsyslog()
        await self.assert_arrives(self.drain(f"syslog://127.0.0.1:{self.port}"))

    async def test_tls(self) -> None:
        for driver in _TLS_DRIVERS:
            if await self.rsyslog_tls(driver):
                break
        else:
            raise SkipTest(f"{' or '.join(_TLS_DRIVERS.values())} is not installed")
        await self.assert_arrives(self.drain(f"syslog+tls://localhost:{self.tls_port}"))

    async def test_udp(self) -> None:
        await self.rsyslog()
        await self.assert_arrives(self.drain(f"syslog+udp://127.0.0.1:{self.port}"))
