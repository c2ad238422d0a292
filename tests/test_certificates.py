# SPDX-License-Identifier: Apache-2.0

"""``logplex.certificates``: PEM files, and the lines that say why one cannot be used."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from logplex.certificates import BadPem, parse_certificates, read_authorities, read_private_key


class CertificatesTests(SynchronousTestCase):
    def test_missing(self) -> None:
        """A file that cannot be read is named after its option, with the system's reason."""
        for read in (read_authorities, read_private_key):
            error = self.assertRaises(BadPem, read, "[x] file", "/missing.pem")
            self.assertEqual("[x] file: '/missing.pem': No such file or directory", str(error))

    def test_garbage(self) -> None:
        file = Path(self.mktemp())
        file.write_bytes(b"garbage")
        error = self.assertRaises(BadPem, read_authorities, "[x] ca", str(file))
        self.assertEqual(f"[x] ca: {str(file)!r}: holds no certificate in PEM form", str(error))
        error = self.assertRaises(BadPem, read_private_key, "[x] key", str(file))
        self.assertEqual(f"[x] key: {str(file)!r}: holds no private key in PEM form", str(error))

    def test_text(self) -> None:
        """A text that an option holds is not repeated in the error."""
        error = self.assertRaises(BadPem, parse_certificates, "[x] text", b"hello")
        self.assertEqual("[x] text: holds no certificate in PEM form", str(error))
