"""A real Kubernetes control plane on loopback: etcd and kube-apiserver, without root, in a few seconds.

There are no controllers and no nodes: what is written stays as it was written, namespaces do not finish terminating
and pods do not start. RBAC decides. State lives in a temporary folder and survives a restart of the API server.
"""

import json
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from support.cluster import Cluster
from support.network import free_ports
from support.processes import Program
from support.toolchain import CONTROL_PLANE, Progress, provide

START_SECONDS = 60.0  # about 4 s on an idle machine of two cores


@dataclass(frozen=True)
class Identity:
    """A user that the API server knows by a token."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def token(self) -> str:
        """Return the token; it opens nothing but a control plane on loopback that lives for one test run."""
        return f"{self.name}-token"


ADMIN = Identity("admin", ("system:masters",))


class ControlPlane:
    """etcd and kube-apiserver. Use it as a context manager; `admin` is the way in."""

    def __init__(self, identities: Iterable[Identity] = (), progress: Progress | None = None) -> None:
        """Take the identities that exist beside `admin`; missing programs are built first, shown by `progress`."""
        self._programs = provide(CONTROL_PLANE, progress)
        self.folder = Path(tempfile.mkdtemp(prefix="agentmemory-control-plane-"))
        self._api_port, self._etcd_port, peer_port = free_ports(3)
        self._identities = {identity.name: identity for identity in (ADMIN, *identities)}
        self._write_tokens()
        self.etcd = Program("etcd", self._etcd_command(peer_port), log=self.folder / "etcd.log")
        self.api_server = Program("kube-apiserver", self._api_server_command(), log=self.folder / "kube-apiserver.log")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Return the address of the API server."""
        return f"https://127.0.0.1:{self._api_port}"

    @property
    def certificate(self) -> Path:
        """Return the file by which clients trust the API server."""
        return self._certificates / "apiserver.crt"

    @property
    def admin(self) -> Cluster:
        """Return access that may do everything."""
        return self.as_identity("admin")

    def as_identity(self, name: str) -> Cluster:
        """Return access as one of the identities that the control plane was made with."""
        identity = self._identities[name]
        kubeconfig = self.folder / f"{name}.kubeconfig"
        server = {"server": self.url, "certificate-authority": str(self.certificate)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": server}],
            "users": [{"name": name, "user": {"token": identity.token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": name}}],
            "current-context": "local",
        }
        kubeconfig.write_text(json.dumps(content, indent=1))
        return Cluster(kubeconfig, self._programs["kubectl"])

    def start(self) -> None:
        """Start both programs and wait until the API server is ready."""
        self.etcd.start()
        self.start_api_server()

    def start_api_server(self) -> None:
        """Start the API server on the state and the port that it had, and wait until it is ready."""
        self.api_server.start()
        not_yet = (urllib.error.URLError, ConnectionError, FileNotFoundError, ssl.SSLError, TimeoutError)
        self.api_server.wait_until(self._ready, "ready for requests", timeout_seconds=START_SECONDS, ignore=not_yet)

    def stop_api_server(self) -> None:
        """Kill the API server: its clients see what a crash shows them."""
        self.api_server.kill()

    def close(self) -> None:
        """End both programs and remove all state."""
        for program in (self.api_server, self.etcd):
            if program.running:
                program.kill()
        shutil.rmtree(self.folder)

    @property
    def _certificates(self) -> Path:
        return self.folder / "certificates"

    def _etcd_command(self, peer_port: int) -> list[str | Path]:
        clients = f"http://127.0.0.1:{self._etcd_port}"
        return [
            self._programs["etcd"],
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server_command(self) -> list[str | Path]:
        # The API server makes a key and a self-signed certificate in --cert-dir before it reads any key, so the same
        # key signs service-account tokens: nothing has to be generated here.
        key = self._certificates / "apiserver.key"
        return [
            self._programs["kube-apiserver"],
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self._api_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",  # loopback may not be an endpoint
            f"--cert-dir={self._certificates}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--enable-aggregator-routing=true",
            "--shutdown-delay-duration=0s",
        ]

    def _write_tokens(self) -> None:
        lines = (f'{who.token},{who.name},{who.name},"{",".join(who.groups)}"\n' for who in self._identities.values())
        (self.folder / "tokens.csv").write_text("".join(lines))

    def _ready(self) -> bool:
        context = ssl.create_default_context(cafile=self.certificate)
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN.token}"})
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return bool(answer.status == 200)
