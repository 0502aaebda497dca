"""The estimate covers all of the work, edges too."""

from pathlib import Path

from metadcseg.data.prepare.estimate import Estimate


def test_the_time_of_edges_is_told_with_the_way_out():
    with_edges = Estimate(2**20, 2**21, 40, edge_seconds=36.0).finding(Path("out")).sentence
    assert with_edges.endswith("edges take about 36 s of one core, --edges none leaves them out")
    assert "edges" not in Estimate(2**20, 2**21, 40).finding(Path("out")).sentence
