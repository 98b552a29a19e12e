"""The specification of a MemoryResource: the one source of the custom resource definition and of its descriptions.

A field exists only when it changes behaviour. Bounds are here, rules across fields are in `RULES`; the API server
enforces both, and the operator repeats them by validating with these models.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from memory_core.config import MemoryType, Overflow, TokenizerFallback
from memory_core.durations import PATTERN as DURATION_PATTERN

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=8)]
Ratio = Annotated[float, Field(gt=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", alias_generator=to_camel, validate_by_name=True)


class Limits(_Model):
    """Hard limits of each conversation. They hold after every acknowledged write, whatever the type of the memory."""

    max_tokens: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="Most tokens a conversation may hold, as counted by the tokenizer.",
    )
    max_messages: int | None = Field(None, ge=1, le=1_000_000, description="Most messages a conversation may hold.")
    max_context_ratio: Ratio | None = Field(
        None,
        description="Share of the model's context window that a conversation may fill, such as 0.5. "
        "Needs contextWindow, or a tokenizer.model whose window is known. "
        "With maxTokens as well, the smaller of the two holds.",
    )
    context_window: int | None = Field(
        None,
        ge=1,
        le=100_000_000,
        description="Tokens of the model's context window, for maxContextRatio.",
    )
    max_message_bytes: int = Field(
        262_144,
        ge=256,
        le=4_194_304,
        description="Most bytes of one message as JSON. A larger one is refused.",
    )
    overflow: Overflow = Field(
        "Evict",
        description="What happens to a write that would pass a limit. Evict: the oldest messages make room; "
        "system, developer and pinned messages stay, and a tool call goes together with its results. "
        "Reject: the write is refused with the totals.",
    )


class Key(_Model):
    """How a conversation is named."""

    template: str = Field(
        "{{ key }}",
        min_length=1,
        max_length=1024,
        description="Jinja2 template that names the conversation. It sees the pod (namespace, pod.name, pod.uid, "
        "pod.labels, service_account) and the variables that the caller sends. What is known of the pod comes first, "
        "followed by / or :, so that no caller can spell the key of another pod. Cannot be changed: "
        "conversations under the old names would be out of reach.",
    )
    default: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="Value of the variable `key` when neither the pod nor the caller gives one.",
    )


class Tokenizer(_Model):
    """How text is counted. Vocabularies ship with the sidecar; nothing is downloaded."""

    provider: Literal["openai"] = Field("openai", description="Whose tokenizer counts.")
    model: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Name of a model, such as gpt-4o, which determines the encoding and the context window.",
    )
    encoding: Literal["o200k_base", "cl100k_base"] | None = Field(
        None, description="The encoding itself, instead of a model. Without either: o200k_base."
    )
    fallback: TokenizerFallback = Field(
        "Estimate",
        description="For a model whose encoding is unknown. Estimate: count by a rule of thumb, and say so in every "
        "message. Reject: refuse writes.",
    )


class Flush(_Model):
    """When a conversation should be condensed."""

    threshold: Ratio = Field(
        0.8,
        description="Share of the limit from which answers say flush_due. The memory's type says which limit counts.",
    )


class Persistence(_Model):
    """How long conversations live."""

    ttl: Duration | None = Field(
        None,
        description="A conversation expires this long after its last write, such as 12h or 7d. Without: never.",
    )


class MemoryResourceSpec(_Model):
    """What a team declares once; every agent pod that binds the memory gets it through its socket."""

    description: str = Field("", max_length=1024, description="What the memory is for; shown to people and agents.")
    type: MemoryType = Field(
        description="Which limit makes a flush due: TokenBased (tokens), MessageCountBased (messages), "
        "Buffer (either). Every limit given is hard in all three.",
    )
    limits: Limits = Field(description="Hard limits of each conversation.")
    key: Key = Field(default_factory=Key, description="How a conversation is named.")
    tokenizer: Tokenizer = Field(default_factory=Tokenizer, description="How text is counted.")
    flush: Flush = Field(default_factory=Flush, description="When a conversation should be condensed.")
    persistence: Persistence = Field(default_factory=Persistence, description="How long conversations live.")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        "Retain",
        description="What happens to the conversations when the MemoryResource is deleted. Retain: they stay in the "
        "store, and a MemoryResource of the same name takes them up again; the object goes at once. Delete: all are "
        "erased before the object goes.",
    )

    @model_validator(mode="after")
    def _rules_hold(self) -> MemoryResourceSpec:
        for broken, message in (
            (self.type == "TokenBased" and not self._limits_tokens, TOKENS_NEEDED),
            (self.type == "MessageCountBased" and self.limits.max_messages is None, MESSAGES_NEEDED),
            (self.type == "Buffer" and not (self._limits_tokens and self.limits.max_messages), BOTH_NEEDED),
            (self._ratio_without_window, WINDOW_NEEDED),
            (self._window_without_ratio, RATIO_NEEDED),
            (bool(self.tokenizer.model and self.tokenizer.encoding), MODEL_OR_ENCODING),
        ):
            if broken:
                raise ValueError(message)
        return self

    @property
    def _limits_tokens(self) -> bool:
        return self.limits.max_tokens is not None or self.limits.max_context_ratio is not None

    @property
    def _ratio_without_window(self) -> bool:
        return (
            self.limits.max_context_ratio is not None
            and self.limits.context_window is None
            and self.tokenizer.model is None
        )

    @property
    def _window_without_ratio(self) -> bool:
        return self.limits.context_window is not None and self.limits.max_context_ratio is None


TOKENS_NEEDED: Final = "type TokenBased needs limits.maxTokens or limits.maxContextRatio"
MESSAGES_NEEDED: Final = "type MessageCountBased needs limits.maxMessages"
BOTH_NEEDED: Final = "type Buffer needs limits.maxMessages, and limits.maxTokens or limits.maxContextRatio"
WINDOW_NEEDED: Final = "limits.maxContextRatio needs limits.contextWindow or tokenizer.model"
RATIO_NEEDED: Final = "limits.contextWindow does nothing without limits.maxContextRatio: add it, or leave both out"
MODEL_OR_ENCODING: Final = "tokenizer takes model or encoding, not both"
TEMPLATE_FIXED: Final = (
    "key.template cannot be changed, conversations under the old names would be out of reach: "
    "create a new MemoryResource"
)

# Rules across fields in CEL, as the API server checks them: path of the field they belong to, rule, message.
RULES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "",
        "self.type != 'TokenBased' || has(self.limits.maxTokens) || has(self.limits.maxContextRatio)",
        TOKENS_NEEDED,
    ),
    ("", "self.type != 'MessageCountBased' || has(self.limits.maxMessages)", MESSAGES_NEEDED),
    (
        "",
        (
            "self.type != 'Buffer' || (has(self.limits.maxMessages) && "
            "(has(self.limits.maxTokens) || has(self.limits.maxContextRatio)))"
        ),
        BOTH_NEEDED,
    ),
    (
        "",
        "!has(self.limits.maxContextRatio) || has(self.limits.contextWindow) || has(self.tokenizer.model)",
        WINDOW_NEEDED,
    ),
    ("limits", "!has(self.contextWindow) || has(self.maxContextRatio)", RATIO_NEEDED),
    ("tokenizer", "!(has(self.model) && has(self.encoding))", MODEL_OR_ENCODING),
    ("key.template", "self == oldSelf", TEMPLATE_FIXED),
)
