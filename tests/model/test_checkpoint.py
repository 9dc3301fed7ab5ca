"""Model folders: what is read, and what is refused with which words."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from synthetic import as_published

from stonkgs.encode.kge import KgeStore
from stonkgs.errors import UserError
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor


@pytest.fixture
def folder(model_path: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may damage."""
    return Path(shutil.copytree(model_path, tmp_path / "copy"))


@pytest.fixture
def published(model_path: Path, tmp_path: Path) -> Path:
    """The small model as the first implementation would have left it."""
    return as_published(model_path, tmp_path / "published", nodes=119)


@pytest.fixture
def vocabulary(published: Path) -> Path:
    """The folder of its vocabulary."""
    return published.parent / "vocabulary"


def load(path: Path, **options: Any) -> STonKGs:
    return STonKGs.from_pretrained(str(path), **options)


def test_our_folder_again_gives_our_weights(model_path: Path, tmp_path: Path) -> None:
    network = load(model_path)
    network.save_pretrained(tmp_path / "again")
    for (key, weight), (other, twin) in zip(
        network.state_dict().items(), load(tmp_path / "again").state_dict().items(), strict=True
    ):
        assert key == other
        assert torch.equal(weight, twin)
    assert load(tmp_path / "again").config == network.config


def test_a_published_folder_needs_its_vocabulary(published: Path) -> None:
    with pytest.raises(UserError, match=r"no vocab\.txt.*model\.tokenizer="):
        load(published)


def test_a_published_folder(published: Path, vocabulary: Path) -> None:
    network = load(published, tokenizer=str(vocabulary))
    config = network.config
    assert config.labels == ("LABEL_0", "LABEL_1")
    assert (config.text_length, config.walk_length, config.kge_nodes) == (24, 11, 119)
    assert config.legacy_node_shift
    assert config.legacy_text_padding
    assert load(published, tokenizer=str(vocabulary), labels=["no", "yes"]).config.labels == ("no", "yes")


def test_a_checkpoint_without_its_backbone_takes_the_backbones_own(published: Path, vocabulary: Path) -> None:
    weights = torch.load(published / "pytorch_model.bin", weights_only=True)
    backbone = published.parent / "backbone"
    backbone.mkdir()
    shutil.copy(vocabulary / "vocab.txt", backbone)
    own = {k.replace("lm_backbone.", "bert."): w for k, w in weights.items() if k.startswith("lm_backbone.")}
    own["bert.pooler.dense.weight"] = own["cls.predictions.bias"] = torch.zeros(1)
    torch.save(own, backbone / "pytorch_model.bin")
    torch.save({k: w for k, w in weights.items() if not k.startswith("lm_backbone.")}, published / "pytorch_model.bin")
    network = load(published, tokenizer=str(backbone))
    key = "lm_backbone.encoder.layer.1.output.dense.weight"
    assert torch.equal(network.state_dict()[key], weights[key])


def test_half_precision_weights_are_read_as_float32(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file({k: w.half() for k, w in weights.items()}, folder / "model.safetensors")
    assert {weight.dtype for weight in load(folder).state_dict().values()} == {torch.float32}


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_refused_and_does_not_run(folder: Path, zipped: bool) -> None:
    (folder / "model.safetensors").unlink()
    trap = folder / "trap"
    if zipped:
        torch.save({"classifier.weight": Evil(trap)}, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"classifier.weight": Evil(trap)}))
    with pytest.raises(UserError, match=r"pytorch_model\.bin: not readable as weights alone"):
        load(folder)
    assert not trap.exists()


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors")


DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no folder", shutil.rmtree, r"no config\.json"),
    ("no config", lambda f: (f / "config.json").unlink(), r"no config\.json; a model is a folder"),
    ("no weights", lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    ("cut weights", lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "not readable as weights"),
    ("config no JSON", lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
    ("config a list", lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    ("config nested deep", lambda f: (f / "config.json").write_text("[" * 100_000), "not readable as JSON"),
    ("config of tomorrow", lambda f: edit(f, version=2), "this release reads 1"),
    ("labels with a gap", lambda f: edit(f, id2label={"0": "a", "2": "b"}), "id2label has the numbers"),
    ("labels a list", lambda f: edit(f, id2label=["a", "b"]), "id2label is not a table"),
    ("one label too many", lambda f: edit(f, id2label={"0": "a", "1": "b", "2": "c"}), "classifier"),
    ("special tokens of text", lambda f: edit(f, special_tokens=["x", 1, 2]), "not the configuration of a model"),
    ("no tokenizer", lambda f: (f / "tokenizer.json").unlink(), "not a tokenizer"),
    ("weights lacking", lambda f: reweigh(f, lambda w: w.pop("classifier.bias")), "lack classifier.bias"),
    ("weights left over", lambda f: reweigh(f, lambda w: w.update(more=torch.ones(1))), "have more, which this model"),
    (
        "wrong shape",
        lambda f: reweigh(f, lambda w: w.update({"classifier.bias": torch.ones(7)})),
        r"classifier\.bias is \(7,\); by config\.json it should be \(2,\)",
    ),
]


@pytest.mark.parametrize(("damage", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_damage_is_named(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["TransESTonKGsForSequenceClassification"]}, "a TransESTonKGs.*; this release reads"),
        ({"num_hidden_layers": 10**9}, "1000000000 layers, but the weights of bert have 2"),
        ({"vocab_size": 28996}, "this is another model's vocabulary"),
        ({"hidden_size": 32}, r"by config\.json it should be"),
    ],
)
def test_a_published_folder_that_does_not_fit(
    published: Path, vocabulary: Path, changes: dict[str, Any], message: str
) -> None:
    edit(published, **changes)
    with pytest.raises(UserError, match=message):
        load(published, tokenizer=str(vocabulary))


def test_labels_must_be_as_many_as_classes(model_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.labels names 3 classes; .* has 2"):
        load(model_path, labels=["a", "b", "c"])


def test_another_store_is_refused_unless_the_user_insists(folder: Path, kge_path: Path) -> None:
    kge = KgeStore(path=str(kge_path))
    edit(folder, kge_digest="0" * 64)
    with pytest.raises(UserError, match=r"digest .* any_kge=true"):
        Predictor(load(folder), kge)
    assert Predictor(load(folder), kge, any_kge=True).labels == ("incorrect", "correct")
    edit(folder, kge_digest=kge.digest, kge_nodes=5)
    with pytest.raises(UserError, match="119 nodes, but the model was trained with 5"):
        Predictor(load(folder), kge)
    edit(folder, kge_nodes=kge.nodes)
    Predictor(load(folder), kge)


def test_a_store_that_cannot_work_is_refused_even_then(folder: Path, kge_path: Path) -> None:
    edit(folder, walk_length=9)
    with pytest.raises(UserError, match="walks of length 5, but the model reads 9"):
        Predictor(load(folder), KgeStore(path=str(kge_path)), any_kge=True)
