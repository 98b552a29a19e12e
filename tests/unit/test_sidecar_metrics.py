"""The table of metrics, and the page that is made of it."""

from prometheus_client.parser import text_string_to_metric_families

from memory_sidecar.metrics import BOUNDS, METRICS, PREFIX, Histogram, Meters, Page


class Gauges:
    """A process with one memory."""

    store_connects = 2
    store_connected = True
    connections = 5
    held_bytes = 77

    def revisions(self) -> list[tuple[str, int]]:
        """Return one memory."""
        return [("shop/tickets", 9)]


def counted() -> Meters:
    """Return meters in which everything was counted once."""
    meters = Meters()
    meters.requests["shop/tickets", "append", 2] += 1
    meters.request_seconds["append"].observe(0.0004)
    meters.refusals["KeyRequired"] += 1
    appended = meters.appended["shop/tickets"]
    appended.messages, appended.tokens, appended.evicted = 3, 40, 1
    meters.store_seconds["append"].observe(0.0002)
    return meters


def test_the_page_has_exactly_the_metrics_of_the_table():
    """Names, kinds, help and labels; beside them only those of the process."""
    page = Page(counted(), Gauges()).render().decode()
    families = {each.name: each for each in text_string_to_metric_families(page) if each.name.startswith(PREFIX)}

    assert set(families) == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        names = {name for sample in family.samples for name in sample.labels if name != "le"}
        assert names == set(metric.labels)


def test_values_are_those_that_were_counted():
    """One sample of each kind."""
    page = Page(counted(), Gauges()).render().decode()

    for line in (
        'agentmemory_sidecar_requests_total{memory="shop/tickets",route="append",status="2xx"} 1.0',
        'agentmemory_sidecar_appended_tokens_total{memory="shop/tickets"} 40.0',
        'agentmemory_sidecar_evicted_messages_total{memory="shop/tickets"} 1.0',
        'agentmemory_sidecar_refusals_total{reason="KeyRequired"} 1.0',
        "agentmemory_sidecar_store_connects_total 2.0",
        "agentmemory_sidecar_store_connected 1.0",
        'agentmemory_sidecar_config_revision{memory="shop/tickets"} 9.0',
        "agentmemory_sidecar_connections 5.0",
        "agentmemory_sidecar_held_bytes 77.0",
        'agentmemory_sidecar_request_seconds_bucket{le="0.0005",route="append"} 1.0',
        'agentmemory_sidecar_request_seconds_bucket{le="0.00025",route="append"} 0.0',
        'agentmemory_sidecar_request_seconds_count{route="append"} 1.0',
    ):
        assert line in page


def test_names_follow_the_conventions():
    """A prefix, a unit, `_total` for counters, and a sentence."""
    for metric in METRICS:
        assert metric.name.startswith("agentmemory_sidecar_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_seconds") == (metric.kind == "histogram")
        assert metric.help.endswith(".")


def test_a_histogram_counts_at_its_bounds():
    """An upper bound belongs to its bucket; what is above all of them is in the last."""
    histogram = Histogram()
    for seconds in (0.0, BOUNDS[0], BOUNDS[-1], BOUNDS[-1] + 1):
        histogram.observe(seconds)

    rows = dict(histogram.cumulative())
    assert (rows[str(BOUNDS[0])], rows[str(BOUNDS[-1])], rows["+Inf"]) == (2.0, 3.0, 4.0)
    assert histogram.total == 2 * BOUNDS[-1] + BOUNDS[0] + 1
