"""The losses of pre-training that the first implementation recorded for its own checkpoint and masks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from stonkgs.cli import main
from stonkgs.encode.walks import Walks
from stonkgs.kge.shift import vector_rows
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import Inputs, STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.model.pretraining import Logits, Places, PretrainingHeads, heads_of, loss_sums, read_heads

Recorded = dict[str, npt.NDArray[Any]]


@pytest.fixture(scope="module")
def upstream(golden: Path) -> Path:
    return golden / "upstream"


@pytest.fixture(scope="module")
def recorded(upstream: Path) -> Recorded:
    with np.load(upstream / "pretraining_batch.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def predictor(upstream: Path, golden_kge: Path) -> Predictor:
    folder = upstream / "pretrained_checkpoint"
    model = STonKGs.from_pretrained(str(folder), tokenizer=str(upstream / "lm_backbone"))
    return Predictor(model, KgeStore(path=str(golden_kge)))


@pytest.fixture(scope="module")
def heads(predictor: Predictor) -> PretrainingHeads:
    assert isinstance(predictor.model, STonKGs)
    return heads_of(predictor.model, predictor.kge, biased=False)


def inputs_of(recorded: Recorded, predictor: Predictor) -> Inputs:
    """What the network reads of the recorded ids: text with its padding, and node numbers."""
    ids, weight = recorded["input_ids"], next(predictor.model.parameters())
    walks = predictor.model.walks(predictor.kge)
    rows = vector_rows(ids[:, 256:], legacy_node_shift=True)
    return {
        "text": {
            "tokens": torch.from_numpy(ids[:, :256]).long(),
            "lengths": torch.from_numpy(recorded["attention_mask"][:, :256].sum(1)).long(),
            "index": torch.arange(len(ids)),
        },
        "walks": Walks.tensors(walks, walks.collate(list(rows)), weight),
    }


def places_of(labels: npt.NDArray[Any]) -> Places:
    rows, columns = np.nonzero(labels != -100)
    return Places(*(torch.from_numpy(array).long() for array in (rows, columns, labels[rows, columns])))


def found(recorded: Recorded, predictor: Predictor, heads: PretrainingHeads) -> tuple[Logits, torch.Tensor]:
    """Logits, and the mean losses."""
    model = predictor.model
    assert isinstance(model, STonKGs)
    hidden = model.states(inputs_of(recorded, predictor))
    text, nodes = (places_of(recorded[name]) for name in ("masked_lm_labels", "ent_masked_lm_labels"))
    logits = heads(hidden, model.bert.pooler(hidden[:, :1]), text, nodes, 256)
    pairs = torch.from_numpy(recorded["next_sentence_labels"]).long()
    counts = torch.tensor([len(text.labels), len(nodes.labels), len(pairs)])
    return logits, loss_sums(logits, text, nodes, pairs) / counts


def test_losses(upstream: Path, recorded: Recorded, predictor: Predictor, heads: PretrainingHeads) -> None:
    wanted = json.loads((upstream / "meta.json").read_text())["pretraining_losses"]
    with torch.inference_mode():
        logits, losses = found(recorded, predictor, heads)
    names = ("masked_lm_loss", "ent_masked_lm_loss", "next_sentence_loss")
    assert losses.tolist() == pytest.approx([wanted[name] for name in names], abs=1e-4)
    assert float(losses.sum()) == pytest.approx(wanted["total_loss"], abs=1e-4)
    assert np.abs(logits.pair.numpy() - recorded["seq_relationship_logits"]).max() < 5e-4


def test_logits(recorded: Recorded, predictor: Predictor, heads: PretrainingHeads) -> None:
    """Of every 64th place, masked or not, and the first 64 entries."""
    model = predictor.model
    assert isinstance(model, STonKGs)
    rows, columns = (array.ravel() for array in np.meshgrid(np.arange(8), np.arange(256), indexing="ij"))
    every = Places(*(torch.from_numpy(array) for array in (rows, columns, columns)))
    with torch.inference_mode():
        hidden = model.states(inputs_of(recorded, predictor))
        pooled = model.bert.pooler(hidden[:, :1])
        logits = heads(hidden, pooled, every, every, 256)
    assert np.abs(pooled.numpy() - recorded["pooler_output"]).max() < 5e-4
    for values, name in ((logits.text, "token_logits_sample"), (logits.entity, "entity_logits_sample")):
        sample, mine = recorded[name], values.reshape(8, 256, -1).numpy()
        assert np.abs(mine[:, ::64, :64] - sample).max() < 5e-4, name


def test_it_goes_to_our_format_and_back(upstream: Path, golden_kge: Path, tmp_path: Path) -> None:
    """All weights under all names, but those that nothing reads; and what is read of it again gives the same."""
    tokenizer = ["--tokenizer", str(upstream / "lm_backbone"), "--kge", str(golden_kge)]
    ours, back = tmp_path / "ours", tmp_path / "back"
    assert main(["model", "convert", str(upstream / "pretrained_checkpoint"), "--output", str(ours), *tokenizer]) == 0
    assert main(["model", "export", str(ours), "--output", str(back)]) == 0
    before, after = (
        torch.load(folder / "pytorch_model.bin", weights_only=True)
        for folder in (upstream / "pretrained_checkpoint", back)
    )
    unread = ("position_ids", "decoder.weight", "decoder.bias", "predictions.bias", "lm_backbone.pooler.dense.weight")
    words = ("bert.embeddings.word_embeddings.weight", "lm_backbone.pooler.dense.bias")
    kept = {name for name in before if not name.endswith((*unread, *words)) or "_decoder" in name}
    assert len(kept) > 80
    assert {name for name in kept if name not in after or not torch.equal(before[name], after[name])} == set()
    assert {name: tuple(weight.shape) for name, weight in after.items()}.items() <= {
        name: tuple(weight.shape) for name, weight in before.items()
    }.items()
    config = {key: json.loads((back / "config.json").read_text())[key] for key in ("vocab_size", "kg_vocab_size")}
    assert config == {"vocab_size": 1500, "kg_vocab_size": 400}
    again = STonKGs.from_pretrained(back, tokenizer=str(back / "lm_backbone"))
    assert again.text.tokenizer.get_vocab() == STonKGs.from_pretrained(ours).text.tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        (
            "config.json",
            "    103\n",
            "    104\n",
            "are the tokens (100, 102, 104); the first",
        ),
        ("tokenizer.json", '"lowercase": true', '"lowercase": false', "its tokenizer.json cuts texts otherwise"),
        ("tokenizer.json", '"strip_accents": true', '"strip_accents": null', ""),
    ],
)
def test_a_text_that_the_first_implementation_reads_otherwise(
    name: str, old: str, new: str, told: str, upstream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, model = str(upstream / "pretrained_checkpoint"), tmp_path / "model"
    STonKGs.from_pretrained(given, tokenizer=str(upstream / "lm_backbone")).save_pretrained(
        model, heads=read_heads(Path(given))
    )
    written = (model / name).read_text("utf-8")
    assert written.count(old) == 1
    (model / name).write_text(written.replace(old, new), "utf-8")
    assert main(["model", "export", str(model), "--output", str(tmp_path / "out")]) == bool(told)
    assert told in capsys.readouterr().err
    assert (tmp_path / "out").exists() == (not told)


def test_only_what_the_first_implementation_computes_is_exported(
    model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["model", "export", str(model_path), "--output", str(tmp_path / "out")]) == 1
    assert "not a model that was only pre-trained" in capsys.readouterr().err
    network = STonKGs.from_pretrained(model_path)
    assert isinstance(network, STonKGs)
    heads = PretrainingHeads(network.config, 119, biased=True).weights()
    network.without_classes().save_pretrained(tmp_path / "ours", heads=heads)
    assert main(["model", "export", str(tmp_path / "ours"), "--output", str(tmp_path / "out")]) == 1
    assert "does not compute as the first implementation does" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
