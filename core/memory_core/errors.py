"""The errors that exist. Each carries a stable `reason` used by replies, status conditions and metrics alike.

AgentMemoryError
├── RequestError                 the caller can mend it by changing the request
│   ├── InvalidRequest           malformed or out of bounds
│   ├── KeyRequired              no conversation was named
│   ├── KeyInvalid               the rendered key breaks the rules
│   ├── VariableUnknown          the key template does not use a variable that was sent
│   ├── VariableMissing          the key template uses a variable that was not sent
│   ├── ReadOnlyBinding          the pod's binding does not allow changes
│   ├── MemoryNotFound           the pod has no binding to a memory of that name
│   ├── InstanceNotFound         no such conversation
│   ├── MessageNotFound          no such message in the conversation
│   ├── VersionConflict          the conversation is at another version than expected
│   ├── DuplicateMessageId       the id is taken in this conversation
│   ├── MessageTooLarge          it can never fit the memory's limits
│   ├── IdempotencyMismatch      the idempotency key was used with another request
│   └── LimitExceeded            the conversation is full and nothing may be evicted
├── UnavailableError             trying again later may help
│   ├── ConfigurationUnavailable the memory has no configuration in the store
│   ├── StaleConfiguration       the store has seen a newer configuration than the caller's
│   ├── StoreUnavailable         no answer from the store
│   └── TokenizerUnavailable     text cannot be counted as the memory demands
├── FencedEpoch                  another operator has taken over
├── StoreError                   the store refused or answered something unexpected
├── InvalidConfiguration         a specification that cannot be made effective
└── BindingInvalid               pod annotations that do not describe bindings
"""

from __future__ import annotations


class AgentMemoryError(Exception):
    """Base of all expectable errors.

    `detail` is one sentence for a person that says what to do. `facts` are extra members for a machine.
    """

    def __init__(self, detail: str, **facts: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts

    @property
    def reason(self) -> str:
        """Return the stable CamelCase name of this kind of error."""
        return type(self).__name__


class RequestError(AgentMemoryError):
    """The caller can mend it by changing the request."""


class InvalidRequest(RequestError):
    """The request is malformed or out of bounds."""


class KeyRequired(RequestError):
    """No conversation was named; a missing scope is never taken as "all"."""


class KeyInvalid(RequestError):
    """The rendered key breaks the rules for keys."""


class VariableUnknown(RequestError):
    """The key template does not use a variable that was sent."""


class VariableMissing(RequestError):
    """The key template uses a variable that was not sent."""


class ReadOnlyBinding(RequestError):
    """The pod's binding does not allow changes."""


class MemoryNotFound(RequestError):
    """The pod has no binding to a memory of that name."""


class InstanceNotFound(RequestError):
    """There is no such conversation."""


class MessageNotFound(RequestError):
    """There is no such message in the conversation."""


class VersionConflict(RequestError):
    """The conversation is at another version than expected; `version` is in the facts."""


class DuplicateMessageId(RequestError):
    """The id is taken in this conversation; `id` is in the facts."""


class MessageTooLarge(RequestError):
    """It can never fit the memory's limits."""


class IdempotencyMismatch(RequestError):
    """The idempotency key was used with another request."""


class LimitExceeded(RequestError):
    """The conversation is full and nothing may be evicted; `totals` and `limits` are in the facts."""


class UnavailableError(AgentMemoryError):
    """Trying again later may help."""


class ConfigurationUnavailable(UnavailableError):
    """The memory has no configuration in the store (yet, or no longer)."""


class StaleConfiguration(UnavailableError):
    """The store has seen a newer configuration than the caller's; `revision` is in the facts."""


class StoreUnavailable(UnavailableError):
    """There is no answer from the store; whether a write was applied is unknown."""


class TokenizerUnavailable(UnavailableError):
    """Text cannot be counted as the memory demands."""


class FencedEpoch(AgentMemoryError):
    """Another operator has taken over; `epoch` of the newer one is in the facts."""


class StoreError(AgentMemoryError):
    """The store refused, or answered something unexpected."""


class InvalidConfiguration(AgentMemoryError):
    """A specification that cannot be made effective."""


class BindingInvalid(AgentMemoryError):
    """The pod's annotations do not describe bindings."""
