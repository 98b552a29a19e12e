"""How to reach the Kubernetes API: from a kubeconfig or the pod's service account, the same for all who speak to it."""

from __future__ import annotations

import os
from typing import Any, Final

import kopf
from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from memory_operator.errors import ApiRefused

_AUTHORIZATION: Final = "BearerToken"  # the client library's name for the Authorization header


async def load(kubeconfig: str) -> Configuration:
    """Return the client library's configuration; `kubeconfig` empty: the service account, else the user's own file.

    Raises ApiRefused when there is no way in.
    """
    configuration = Configuration()
    try:
        if kubeconfig or "KUBERNETES_SERVICE_HOST" not in os.environ:
            await load_kube_config(  # type: ignore[no-untyped-call]  # untyped library
                kubeconfig or None, client_configuration=configuration, persist_config=False
            )
        else:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # untyped library
    except ConfigException as error:
        raise ApiRefused(f"there is no access to a cluster ({error}): give --kubeconfig, or run in a pod") from error
    # The library's default looks up proxies and .netrc for every request, in another thread each time.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration


async def for_kopf(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return the same access in kopf's words, with a token as fresh as the mounted file."""
    scheme, token = await _authorization(configuration)
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme,
        token=token,
    )


async def _authorization(configuration: Configuration) -> tuple[str | None, str | None]:
    header: Any = await configuration.get_api_key_with_prefix(_AUTHORIZATION)
    if not header:
        return None, None
    scheme, _, token = header.partition(" ")
    return scheme.capitalize(), token
