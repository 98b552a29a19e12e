"""Certificates for tests of TLS, made by Helm's template functions: no other tool that is here anyway makes them."""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from support.toolchain import HELM, provide

_TEMPLATE = '{{ $made := genSelfSignedCert "localhost" (list "127.0.0.1") (list "localhost") 1 }}{{ toJson $made }}'


@dataclass(frozen=True)
class Certificate:
    """A certificate for localhost that signs itself, and its key, as PEM files."""

    certificate: Path
    key: Path


def self_signed(folder: Path) -> Certificate:
    """Make a certificate that is valid for a day."""
    with tempfile.TemporaryDirectory() as chart:
        (Path(chart) / "templates").mkdir()
        (Path(chart) / "Chart.yaml").write_text("apiVersion: v2\nname: certificate\nversion: 0.0.0\n")
        (Path(chart) / "templates/made.yaml").write_text(_TEMPLATE)
        helm = provide([HELM])["helm"]
        said = subprocess.run([helm, "template", chart], capture_output=True, text=True, check=True).stdout
    made = json.loads(said[said.index("{") :])
    files = Certificate(folder / "tls.crt", folder / "tls.key")
    files.certificate.write_text(made["Cert"])
    files.key.write_text(made["Key"])
    return files
