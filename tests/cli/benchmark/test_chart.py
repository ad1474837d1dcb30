"""The chart of a benchmark."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from octabox.cli.benchmark.chart import draw_chart
from octabox.cli.benchmark.measuring import Measurement, ModeResult

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_a_line_for_each_mode_and_a_point_for_each_measured_batch() -> None:
    """A batch that failed has no point; names are escaped."""
    results = [
        ModeResult(
            "full", (Measurement(1, 1, 4.0), Measurement(2, 1, 7.5), Measurement(4, error="x")), {"host": 2**30}
        ),
        ModeResult("group_offload", (Measurement(1, 1, 2.0),)),
    ]
    root = ET.fromstring(draw_chart("a <b>", "steps 10", (1, 2, 4), results))
    texts = [each.text for each in root.iter(f"{NAMESPACE}text")]

    assert 2 == len(list(root.iter(f"{NAMESPACE}polyline")))
    assert 3 == len(list(root.iter(f"{NAMESPACE}circle")))
    assert {"a <b>", "steps 10", "full", "group_offload", "host 1.00 GiB", "10", "1", "2", "4"} <= set(texts)


def test_nothing_measured_is_a_chart_too() -> None:
    """All batches may have failed."""
    ET.fromstring(draw_chart("a", "b", (1,), [ModeResult("full", (Measurement(1, error="x"),))]))
