"""A real graph: what netmf learns of it tells held-out edges from pairs of the same degrees."""

import json
from pathlib import Path

from stonkgs.graph.leave_out import LeaveOut
from stonkgs.graph.links import MATCHED, UNIFORM
from stonkgs.graph.netmf import NetMF
from stonkgs.graph.train import train_store
from stonkgs.graph.triples import TripleFiles
from stonkgs.kge.store import KgeStore


def test_netmf_tells_edges_where_degrees_do_not(tmp_path: Path, corpora: Path) -> None:
    triples = TripleFiles([str(corpora / "indra_hbp_edges.tsv.gz")])
    output = str(tmp_path / "kge.h5")
    result = train_store(triples=triples, without=LeaveOut(), method=NetMF(dimension=64, walk_length=9), output=output)
    links = json.loads(KgeStore(path=output).header.origin)["links"]
    assert links == json.loads(json.dumps(result.origin["links"]))
    assert result.nodes == 7598
    matched, uniform = links[MATCHED], links[UNIFORM]
    assert matched["auc"][0] >= 0.65
    assert matched["auc"][0] >= matched["degrees_auc"][0] + 0.05
    assert matched["hits_at_10"][0] >= matched["degrees_hits_at_10"][0] + 0.05
    assert uniform["degrees_auc"][0] > 0.9, "so uniform negatives tell nothing"
