"""What the API server itself does with a MemoryResource: refusals with their sentences, defaults, columns, words."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from memory_core import spec
from memory_core.compile import parse_spec
from memory_core.errors import InvalidConfiguration
from support.cluster import Cluster, KubectlError

Kubectl = Callable[..., str]

SMALLEST: dict[str, Any] = {"type": "TokenBased", "limits": {"maxTokens": 1000}}
DRY_RUN = "--dry-run=server"  # the API server does everything but store; no namespace of its own is needed
TEMPLATE_RULE = next(message for path, _, message in spec.RULES if path == "key.template")


def manifest(specification: object, name: str = "tickets") -> str:
    """Return a MemoryResource as JSON."""
    kind = {"apiVersion": "agentmemory.io/v1alpha1", "kind": "MemoryResource", "metadata": {"name": name}}
    return json.dumps(kind | {"spec": specification})


def apply(kubectl: Kubectl, specification: object, *options: str) -> dict[str, Any]:
    """Apply, and return what the API server stored, or would have in a dry run."""
    said = kubectl("apply", "--filename=-", "--output=json", *options, stdin=manifest(specification))
    parsed: dict[str, Any] = json.loads(said)
    return parsed


def refusal(kubectl: Kubectl, specification: object) -> str:
    """Return what the API server says when it refuses."""
    with pytest.raises(KubectlError) as refused:
        apply(kubectl, specification, DRY_RUN)
    return refused.value.stderr


RULES = [
    ({"type": "TokenBased", "limits": {"maxMessages": 10}}, spec.TOKENS_NEEDED),
    ({"type": "MessageCountBased", "limits": {"maxTokens": 10}}, spec.MESSAGES_NEEDED),
    ({"type": "Buffer", "limits": {"maxTokens": 10}}, spec.BOTH_NEEDED),
    ({"type": "Buffer", "limits": {"maxMessages": 10}}, spec.BOTH_NEEDED),
    ({"type": "TokenBased", "limits": {"maxContextRatio": 0.5}}, spec.WINDOW_NEEDED),
    ({"type": "TokenBased", "limits": {"maxTokens": 10, "contextWindow": 128_000}}, spec.RATIO_NEEDED),
    (SMALLEST | {"tokenizer": {"model": "gpt-4o", "encoding": "o200k_base"}}, spec.MODEL_OR_ENCODING),
]


@pytest.mark.parametrize(("specification", "sentence"), RULES)
def test_rules_across_fields_are_refused_with_what_to_write(
    cluster: Cluster, specification: dict[str, Any], sentence: str
) -> None:
    """The sentence is the one that the operator would say."""
    assert sentence in refusal(cluster.kubectl, specification)


def test_every_rule_has_a_refusal_here() -> None:
    """A rule that is added to the specification is tried on a real API server."""
    assert {sentence for _, sentence in RULES} | {TEMPLATE_RULE} == {message for _, _, message in spec.RULES}


@pytest.mark.parametrize(
    ("changed", "field", "sentence"),
    [
        ({"type": "Tokens"}, "spec.type", 'supported values: "TokenBased", "MessageCountBased", "Buffer"'),
        ({"type": None}, "spec.type", "Required value"),
        ({"limits": None}, "spec.limits", "Required value"),
        ({"limits": {"maxTokens": 0}}, "spec.limits.maxTokens", "should be greater than or equal to 1"),
        ({"limits": {"maxTokens": 10**9}}, "spec.limits.maxTokens", "should be less than or equal to 100000000"),
        ({"limits": {"maxTokens": 1.5}}, "spec.limits.maxTokens", "must be of type integer"),
        ({"limits": {"maxTokens": "10"}}, "spec.limits.maxTokens", "must be of type integer"),
        (
            {"limits": {"maxContextRatio": 0, "contextWindow": 10}},
            "spec.limits.maxContextRatio",
            "should be greater than 0",
        ),
        (
            {"limits": {"maxContextRatio": 1.1, "contextWindow": 10}},
            "spec.limits.maxContextRatio",
            "should be less than or equal to 1",
        ),
        ({"description": "x" * 1025}, "spec.description", "may not be more than 1024"),
        ({"key": {"template": ""}}, "spec.key.template", "should be at least 1 chars long"),
        ({"persistence": {"ttl": "1.5h"}}, "spec.persistence.ttl", "should match '^[1-9][0-9]{0,5}(ms|s|m|h|d)$'"),
        ({"persistence": {"ttl": "1h\n"}}, "spec.persistence.ttl", "should match"),
        ({"key": "tickets"}, "spec.key", "must be of type object"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(
    cluster: Cluster, changed: dict[str, Any], field: str, sentence: str
) -> None:
    """One of each kind of bound: the field, and what is allowed there."""
    said = refusal(cluster.kubectl, SMALLEST | changed)

    assert field in said
    assert sentence in said


@pytest.mark.parametrize("unknown", [{"quota": {}}, {"limits": {"maxTokens": 10, "maxBytes": 5}}])
def test_unknown_fields_are_refused(cluster: Cluster, unknown: dict[str, Any]) -> None:
    """A typing error does not disappear silently."""
    assert "unknown field" in refusal(cluster.kubectl, SMALLEST | unknown)


def test_defaults_are_applied(kubectl: Kubectl) -> None:
    """What is left out is stored with its default, whole branches included."""
    stored = apply(kubectl, SMALLEST)

    assert stored["spec"] == {
        "description": "",
        "type": "TokenBased",
        "limits": {"maxTokens": 1000, "maxMessageBytes": 262_144, "overflow": "Evict"},
        "key": {"template": "{{ key }}"},
        "tokenizer": {"provider": "openai", "fallback": "Estimate"},
        "flush": {"threshold": 0.8},
        "persistence": {},
        "deletionPolicy": "Retain",
    }
    assert parse_spec(stored["spec"]) == parse_spec(SMALLEST)


@pytest.mark.parametrize(
    "specification",
    [
        {"type": "TokenBased", "limits": {"maxContextRatio": 0.5, "contextWindow": 128_000}},
        {"type": "TokenBased", "limits": {"maxContextRatio": 1}, "tokenizer": {"model": "gpt-4o"}},
        {"type": "MessageCountBased", "limits": {"maxMessages": 1, "overflow": "Reject"}},
        {"type": "Buffer", "limits": {"maxMessages": 1_000_000, "maxTokens": 100_000_000}},
        SMALLEST | {"persistence": {"ttl": "7d"}, "deletionPolicy": "Delete", "flush": {"threshold": 1}},
        SMALLEST | {"key": {"template": "{{ pod.labels['customer'] }}:{{ key }}", "default": "main"}},
    ],
)
def test_what_makes_sense_is_accepted_by_both(cluster: Cluster, specification: dict[str, Any]) -> None:
    """API server and operator agree: what the one stores, the other can compile."""
    assert parse_spec(apply(cluster.kubectl, specification, DRY_RUN)["spec"]) == parse_spec(specification)


@pytest.mark.parametrize(("specification", "sentence"), RULES)
def test_what_the_api_server_refuses_the_operator_refuses(specification: dict[str, Any], sentence: str) -> None:
    """The same sentence, for manifests that come without an API server."""
    with pytest.raises(InvalidConfiguration, match=re.escape(sentence)):
        parse_spec(specification)


@pytest.mark.parametrize("changed", [{"key": {"template": "{{ key }}-2"}}, {}], ids=["another", "left out"])
def test_a_key_template_cannot_be_changed(kubectl: Kubectl, changed: dict[str, Any]) -> None:
    """Leaving it out would be a change to the default."""
    first = SMALLEST | {"key": {"template": "{{ namespace }}/{{ key }}"}}
    apply(kubectl, first)

    assert TEMPLATE_RULE in refusal(kubectl, SMALLEST | changed)
    apply(kubectl, first | {"description": "everything else can"})


def test_it_answers_to_its_names(kubectl: Kubectl) -> None:
    """Short name, singular, plural and category."""
    apply(kubectl, SMALLEST)

    for word in ("mem", "memoryresource", "memoryresources", "agentmemory"):
        assert kubectl("get", word, "--output=name") == "memoryresource.agentmemory.io/tickets\n"


def test_columns_show_what_matters(kubectl: Kubectl) -> None:
    """`kubectl get mem` tells limits and state; --output=wide adds the revision."""
    apply(
        kubectl,
        {
            "type": "Buffer",
            "limits": {"maxTokens": 8000, "maxMessages": 200, "overflow": "Reject"},
            "persistence": {"ttl": "7d"},
        },
    )
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "InEffect",
        "message": "It is in the store.",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"status": {"configRevision": 42, "conditions": [condition]}}
    kubectl("patch", "mem", "tickets", "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")

    header, row = (re.split(r"\s{2,}", line.strip()) for line in kubectl("get", "mem").splitlines())
    assert header == ["NAME", "TYPE", "MAX-TOKENS", "MAX-MESSAGES", "OVERFLOW", "TTL", "READY", "REASON", "AGE"]
    assert row[:-1] == ["tickets", "Buffer", "8000", "200", "Reject", "7d", "True", "InEffect"]
    assert re.split(r"\s{2,}", kubectl("get", "mem", "--output=wide").splitlines()[1].strip())[-1] == "42"


def test_status_is_a_subresource(kubectl: Kubectl) -> None:
    """Who may edit a memory cannot fake its state: status in a manifest is dropped."""
    with_status = json.loads(manifest(SMALLEST)) | {"status": {"configRevision": 42}}

    stored = json.loads(kubectl("apply", "--filename=-", "--output=json", stdin=json.dumps(with_status)))

    assert "status" not in stored


def test_explain_reads_like_documentation(cluster: Cluster) -> None:
    """Every field of the specification is explained with its description."""
    kubectl = cluster.kubectl
    explained = " ".join(kubectl("explain", "memoryresource.spec", "--recursive").split())
    for name in ("limits", "maxContextRatio", "deletionPolicy", "fallback"):
        assert name in explained

    for path, description in (
        ("spec.limits.overflow", spec.Limits.model_fields["overflow"].description),
        ("spec.persistence.ttl", spec.Persistence.model_fields["ttl"].description),
        ("spec.type", spec.MemoryResourceSpec.model_fields["type"].description),
    ):
        assert description is not None
        assert description in " ".join(kubectl("explain", f"mem.{path}").split())
