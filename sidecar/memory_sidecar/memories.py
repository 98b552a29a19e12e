"""The memories that the pod binds, each with the policy in effect.

A binding says what the pod may do and never changes by itself; a policy is what the operator stored, and is replaced
as a whole. An operation takes the policy once and uses it to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from memory_core.bindings import Binding, resolve_bindings
from memory_core.config import StoredConfig
from memory_core.errors import (
    AgentMemoryError,
    BindingInvalid,
    ConfigurationUnavailable,
    InvalidRequest,
    MemoryNotFound,
)
from memory_core.keys import InstanceKeys, MemoryKeys
from memory_core.logs import Log
from memory_core.pod import PodFacts, read_podinfo
from memory_core.store.limits import AppendLimits
from memory_core.templates import KeyTemplate
from memory_core.tokens import TokenCounter

_log: Final = Log(__name__)

_KNOWN_CONVERSATIONS: Final = 4096  # names whose keys are kept spelled out; about 1 KiB each


class Policy:
    """A configuration, compiled for use. Immutable but for what it remembers of names already rendered."""

    def __init__(self, stored: StoredConfig, facts: PodFacts, pinned: str | None) -> None:
        self.revision: Final = stored.revision
        self.config: Final = stored.config
        self.limits: Final = AppendLimits.of(stored)
        self.counter: Final = TokenCounter(stored.config.tokenizer)
        self._template: Final = KeyTemplate.compile(stored.config.key_template)
        self._facts: Final = facts
        self._pinned: Final = pinned
        self._by_key: dict[str | None, InstanceKeys] = {}

    def conversation(self, key: str | None, variables: Mapping[str, str] | None) -> InstanceKeys:
        """Return the conversation that a request names.

        Raises InvalidRequest, KeyRequired, KeyInvalid, VariableMissing, VariableUnknown.
        """
        if variables:
            if key is not None and variables.get("key", key) != key:
                raise InvalidRequest(
                    "key and the variable key differ, and both name the conversation; send one of them"
                )
            return self._render({**variables} if key is None else {**variables, "key": key})
        known = self._by_key.get(key)
        if known is None:
            known = self._render({} if key is None else {"key": key})
            if len(self._by_key) >= _KNOWN_CONVERSATIONS:
                self._by_key.clear()
            self._by_key[key] = known
        return known

    def _render(self, variables: Mapping[str, str]) -> InstanceKeys:
        key = self._template.render(self._facts, variables, pinned=self._pinned, default=self.config.key_default)
        return InstanceKeys(self.config.ref, key)

    def known_variables(self) -> dict[str, str]:
        """Return what a template may know of this pod."""
        facts = self._facts
        known = {
            "namespace": facts.namespace,
            "service_account": facts.service_account,
            "pod.name": facts.pod_name,
            "pod.uid": facts.pod_uid,
            **{f"pod.labels['{name}']": value for name, value in facts.labels.items()},
        }
        if self._pinned is not None:
            known["key"] = self._pinned
        return {name: value for name, value in known.items() if value}


class BoundMemory:
    """One binding and, once it has been read, the policy."""

    def __init__(self, binding: Binding, facts: PodFacts) -> None:
        self.binding: Final = binding
        self.ref: Final = binding.memory
        self.label: Final = str(binding.memory)  # in metrics and logs
        self.keys: Final = MemoryKeys(binding.memory)
        self.may_write: Final = binding.mode == "ReadWrite"
        self._facts: Final = facts
        self._policy: Policy | None = None
        self._was_configured = False
        self.missing = f"the configuration of memory {self.label} has not been read yet; the store was not reachable"

    @property
    def policy(self) -> Policy:
        """Return the policy in effect.

        Raises ConfigurationUnavailable, with what keeps the binding from being used.
        """
        if self._policy is None:
            raise ConfigurationUnavailable(self.missing)
        return self._policy

    @property
    def current(self) -> Policy | None:
        """Return the policy in effect, None while there is none."""
        return self._policy

    def adopt(self, stored: StoredConfig) -> None:
        """Put a configuration into effect, unless it is already."""
        before = self._policy
        if before is not None and before.revision == stored.revision and before.config == stored.config:
            return
        try:
            self._policy = Policy(stored, self._facts, self.binding.pinned_key(self._facts))
            self._was_configured = True
        except AgentMemoryError as error:
            self.withdraw(error)
            return
        _log.info("configuration in effect", memory=self.label, revision=stored.revision)

    def withdraw(self, error: AgentMemoryError) -> None:
        """Take the policy out of effect; operations are refused with the sentence of `error`."""
        missing = error.detail
        if isinstance(error, ConfigurationUnavailable) and self._was_configured:
            missing = f"the configuration of memory {self.label} was withdrawn: its MemoryResource was deleted"
        if self.missing != missing:
            _log.warning("memory not usable", memory=self.label, detail=missing)
        self._policy, self.missing = None, missing


class Memories:
    """All bindings of the pod, by the name that requests use."""

    def __init__(self, environment: Mapping[str, str], podinfo: Path) -> None:
        self._environment: Final = environment
        self._podinfo: Final = podinfo
        self._seen: object = None
        self._by_name: dict[str, BoundMemory] = {}
        self.trouble: str | None = "the pod's annotations have not been read yet"

    def __iter__(self) -> Iterator[BoundMemory]:
        return iter(self._by_name.values())

    def find(self, name: str) -> BoundMemory:
        """Return the memory of that name.

        Raises MemoryNotFound, which names those that exist.
        """
        memory = self._by_name.get(name)
        if memory is not None:
            return memory
        if self._by_name:
            raise MemoryNotFound(f"this pod binds no memory {name[:80]!r}; it binds {', '.join(self._by_name)}")
        raise MemoryNotFound(f"this pod binds no memory: {self.trouble}")

    def reload(self) -> bool:
        """Read the pod's labels and annotations if they changed; return whether the bindings are others now.

        A file that cannot be read leaves the bindings as they are; annotations that bind nothing end them.
        """
        seen = [_stamp(self._podinfo / name) for name in ("labels", "annotations")]
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            facts = PodFacts.from_environment(self._environment, self._podinfo)
            annotations = read_podinfo(self._podinfo / "annotations")
        except BindingInvalid as error:
            self._note_trouble(error)
            return False
        try:
            bindings = resolve_bindings(annotations, facts.namespace)
            self.trouble = None
        except BindingInvalid as error:
            self._note_trouble(error)
            bindings = ()
        self._by_name = {binding.memory.name: BoundMemory(binding, facts) for binding in bindings}
        _log.info("bindings in effect", memories=[each.label for each in self])
        return True

    def _note_trouble(self, error: BindingInvalid) -> None:
        self.trouble = error.detail
        _log.error("bindings not usable", detail=error.detail)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when the kubelet writes a file anew: it swaps a link to a fresh folder."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
