"""The Kubernetes programs that the tests and the demo run, built once from their Go modules.

No package registry ships etcd and kube-apiserver for every machine; their Go modules are pinned by hash like every
other dependency here. A folder named by KUBEBUILDER_ASSETS spares the build.
"""

from support.toolchain.build import provide
from support.toolchain.errors import ToolchainError
from support.toolchain.modules import CONTROL_PLANE, HELM, KUBECTL, Tool
from support.toolchain.progress import Progress

__all__ = ["CONTROL_PLANE", "HELM", "KUBECTL", "Progress", "Tool", "ToolchainError", "provide"]
