"""The custom resource definition that is generated from the models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from memory_core.crd import render_crd, to_yaml
from memory_core.spec import RULES, MemoryResourceSpec

CRD = render_crd()
(VERSION,) = CRD["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
OURS = {name: SCHEMA["properties"][name] for name in ("spec", "status")}  # the rest belongs to Kubernetes

FORBIDDEN = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const", "title", "additionalProperties", "examples"}


def nodes(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk every schema under and including one."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


NODES = [node for name, schema in OURS.items() for node in nodes(schema, name)]


def test_the_file_is_what_the_models_generate(repository: Path) -> None:
    """A change of the models without `make generate` fails here."""
    file = repository / "crds/agentmemory.io_memoryresources.yaml"

    assert file.read_text() == to_yaml(CRD)
    assert yaml.safe_load(file.read_text()) == CRD


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path for path, _ in NODES])
def test_the_schema_is_structural(path: str, node: dict[str, Any]) -> None:
    """Every node has one type and none of the keywords that a structural schema excludes."""
    assert node["type"] in {"object", "array", "string", "integer", "number", "boolean"}
    assert FORBIDDEN.isdisjoint(node)


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path for path, _ in NODES])
def test_everything_is_described(path: str, node: dict[str, Any]) -> None:
    """`kubectl explain` reads like documentation: whole sentences."""
    assert node["description"].endswith(".")


def is_bounded(node: dict[str, Any]) -> bool:
    """Tell whether the API server refuses an endless value; an object is as bounded as its properties."""
    match node["type"]:
        case "string":
            return "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "array":
            return "maxItems" in node
        case "integer" | "number":
            return ("maximum" in node and "minimum" in node) or node.get("format") == "int64"
        case _:
            return "properties" in node


@pytest.mark.parametrize(("path", "node"), NODES, ids=[path for path, _ in NODES])
def test_everything_is_bounded(path: str, node: dict[str, Any]) -> None:
    """Strings, lists, numbers and objects have a bound, so that no object can grow without one."""
    assert is_bounded(node)


@pytest.mark.parametrize(("path", "node"), [n for n in NODES if n[0].startswith("spec") and "minimum" in n[1]])
def test_numbers_have_both_bounds(path: str, node: dict[str, Any]) -> None:
    """A number of the specification has a lower and an upper bound."""
    assert node["maximum"] > node["minimum"]


def test_every_field_of_the_models_is_in_the_schema() -> None:
    """Names and required fields are those of the models."""
    document = MemoryResourceSpec.model_json_schema(by_alias=True)

    assert OURS["spec"]["properties"].keys() == document["properties"].keys()
    assert OURS["spec"]["required"] == document["required"] == ["type", "limits"]


def test_nested_defaults_apply_to_an_absent_parent() -> None:
    """An optional object has a default of its own: the API server fills it in, and rules may look inside."""
    parents = {
        path: node for path, node in nodes(OURS["spec"], "spec") if "properties" in node and path.count(".") == 1
    }

    assert {path for path, node in parents.items() if node.get("default") == {}} == {
        "spec.key",
        "spec.tokenizer",
        "spec.flush",
        "spec.persistence",
    }
    assert OURS["spec"]["properties"]["key"]["properties"]["template"]["default"] == "{{ key }}"


def test_rules_are_where_their_fields_are() -> None:
    """Each rule across fields is at the node it names, with its sentence."""
    found = {
        (path.removeprefix("spec").removeprefix("."), rule["rule"], rule["message"])
        for path, node in NODES
        for rule in node.get("x-kubernetes-validations", ())
    }

    assert found == set(RULES)


def test_names() -> None:
    """The names that people type and that other objects refer to."""
    assert CRD["metadata"]["name"] == "memoryresources.agentmemory.io"
    assert CRD["spec"]["names"]["shortNames"] == ["mem"]
    assert CRD["spec"]["names"]["categories"] == ["agentmemory"]
    assert VERSION["subresources"] == {"status": {}}


def test_columns_point_to_fields_that_exist() -> None:
    """A printer column whose path is wrong would stay empty for ever."""
    paths = {f".{path}" for path, _ in NODES} | {".metadata.creationTimestamp"}
    for column in VERSION["additionalPrinterColumns"]:
        path = column["jsonPath"].replace("[?(@.type=='Ready')]", "[]")

        assert path in paths
        assert column["description"].endswith(".")
