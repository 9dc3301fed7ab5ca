"""Model folders: what is read and written. What is refused: test_damage.py."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from synthetic import write_store
from tokenizers import normalizers

from stonkgs.encode.text import TextEncoder
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model import checkpoint
from stonkgs.model.config import ModelConfig
from stonkgs.model.digest import model_digest
from stonkgs.model.fresh import Fresh
from stonkgs.model.network import Network, STonKGs
from stonkgs.model.predictor import Predictor


def load(path: Path, **options: Any) -> Network:
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


def test_a_model_saved_where_it_was_loaded_from(folder: Path) -> None:
    """Its weights are a map of the very file."""
    network = load(folder)
    before = {key: weight.clone() for key, weight in network.state_dict().items()}
    torch.nn.init.zeros_(network.classifier.bias)
    (folder / "notes.txt").write_text("mine")
    network.save_pretrained(folder)
    after, again = network.state_dict(), load(folder).state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if key != "classifier.bias")
    assert all(torch.equal(after[key], again[key]) for key in before)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*checkpoint.FILES, "notes.txt"])


@pytest.mark.parametrize("there", [False, True])
def test_a_save_that_fails_leaves_what_was_there(folder: Path, there: bool) -> None:
    """The tokenizer that is not there shows when the weights are written."""
    network, target = load(folder), folder if there else folder.parent / "new"
    lost = TextEncoder(path=str(folder.parent / "nowhere.json"))
    digest = model_digest(network)
    changed = {key: weight + 1 for key, weight in network.state_dict().items()}
    with pytest.raises(UserError, match=r"nowhere\.json: not a tokenizer"):
        checkpoint.write(target, network.config, lost, changed)
    assert [path.name for path in folder.parent.iterdir()] == ["copy"]
    assert {path.name for path in folder.iterdir()} == set(checkpoint.FILES)
    assert model_digest(load(folder)) == digest


def test_a_file_is_no_place_for_a_model(folder: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: cannot be written: .*; name a folder"):
        load(folder).save_pretrained(folder / "config.json")
    load(folder)


def test_weights_lie_where_their_bits_do_not_depend_on_the_file(folder: Path, published: Path) -> None:
    """Kernels round by the address of what they read; the library's writer leaves it to chance."""
    ours = load(folder)
    assert safetensors.torch.load_file(folder / "model.safetensors").keys() == ours.state_dict().keys()
    with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    mapped = safetensors.torch.load_file(folder / "model.safetensors")
    assert [key for key, weight in mapped.items() if weight.data_ptr() % 64] == []
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    chance = safetensors.torch.load_file(folder / "model.safetensors")
    assert any(weight.data_ptr() % 64 for weight in chance.values()), "the library has learned it"
    for network in (load(folder), load(published, tokenizer=str(published.parent / "vocabulary"))):
        assert not any(weight.data_ptr() % 64 for weight in network.state_dict().values())


def test_one_tensor_under_two_names(published: Path, vocabulary: Path) -> None:
    weights = torch.load(published / "pytorch_model.bin", weights_only=True)
    one = "bert.encoder.layer.0.output.dense.weight"
    other = one.replace(".0.", ".1.")
    torch.save(weights | {other: weights[one]}, published / "pytorch_model.bin")
    load(published, tokenizer=str(vocabulary)).save_pretrained(published.parent / "ours")
    saved = load(published.parent / "ours").state_dict()
    assert torch.equal(saved[other], saved[one])
    assert torch.equal(saved[one], weights[one])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_is_saved_as_it_is(model_path: Path, tmp_path: Path, kind: torch.dtype) -> None:
    network = load(model_path).to(kind)
    network.save_pretrained(tmp_path / "model")
    saved = safetensors.torch.load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(saved[key], weight) for key, weight in network.state_dict().items())


def test_how_nodes_are_found_is_kept(folder: Path) -> None:
    assert load(folder).config.kge_match == "identifier"
    network = load(folder)
    network.config = replace(network.config, kge_match="exact")
    network.save_pretrained(folder.parent / "again")
    assert json.loads((folder.parent / "again" / "config.json").read_text())["kge_match"] == "exact"
    assert load(folder.parent / "again").config.kge_match == "exact"


def test_a_config_without_the_field_takes_the_default(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    del values["kge_match"]
    assert ModelConfig.load(values, "x").kge_match == "identifier"


def test_a_joint_bert_is_not_taken_for_its_backbone(published: Path, vocabulary: Path) -> None:
    weights = torch.load(published / "pytorch_model.bin", weights_only=True)
    torch.save({k: w for k, w in weights.items() if not k.startswith("lm_backbone.")}, published / "pytorch_model.bin")
    shutil.copy(vocabulary / "vocab.txt", published)
    with pytest.raises(UserError, match=r"the weights lack those of the text backbone: .* model\.tokenizer="):
        load(published)


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
    assert config.kge_match == "exact"
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


def as_of_old(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As bert-base-uncased names the weights of its layer norms to this day."""
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    named = {}
    for key, weight in weights.items():
        end = next((end for end in old if key.endswith(end)), "")
        named[key.removesuffix(end) + old.get(end, "")] = weight
    assert named.keys() != weights.keys()
    return named


Save = Callable[[dict[str, torch.Tensor], Path], None]


def shards(weights: dict[str, torch.Tensor], folder: Path, ending: str, count: int = 3) -> None:
    """Weights in several files and an index, as transformers writes large ones."""
    name, suffix = ending.split(".")
    places: dict[str, str] = {}
    for number in range(count):
        part = {key: weight.clone() for key, weight in list(weights.items())[number::count]}
        places |= dict.fromkeys(part, f"{name}-{number + 1:05}-of-{count:05}.{suffix}")
        save: Any = safetensors.torch.save_file if suffix == "safetensors" else torch.save
        save(part, folder / places[next(iter(part))])
    (folder / f"{ending}.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))


WAYS: dict[str, Save] = {
    "torch": lambda weights, folder: torch.save(weights, folder / "pytorch_model.bin"),
    "safetensors": lambda weights, folder: safetensors.torch.save_file(
        {key: weight.clone() for key, weight in weights.items()}, folder / "model.safetensors"
    ),
    "shards": lambda weights, folder: shards(weights, folder, "model.safetensors"),
    "torch shards": lambda weights, folder: shards(weights, folder, "pytorch_model.bin"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefix", ["", "bert."])
@pytest.mark.parametrize("old", [False, True])
def test_a_backbone_in_every_way_in_which_it_is_published(
    published: Path, vocabulary: Path, way: str, prefix: str, old: bool
) -> None:
    weights = torch.load(published / "pytorch_model.bin", weights_only=True)
    own = {k.replace("lm_backbone.", prefix): w for k, w in weights.items() if k.startswith("lm_backbone.")}
    own[f"{prefix}pooler.dense.weight"] = own["cls.predictions.bias"] = torch.zeros(1)
    WAYS[way](as_of_old(own) if old else own, vocabulary)
    torch.save({k: w for k, w in weights.items() if not k.startswith("lm_backbone.")}, published / "pytorch_model.bin")
    network = load(published, tokenizer=str(vocabulary)).state_dict()
    decisive = {file.name for file in Fresh(backbone=str(vocabulary)).backbone_files()}
    assert decisive >= {file.name for file in vocabulary.iterdir() if "model" in file.name}
    assert "vocab.txt" in decisive
    layer_norms = [key for key in network if key.startswith("lm_backbone.") and "LayerNorm" in key]
    assert len(layer_norms) > 4
    assert all(torch.equal(network[key], weights[key]) for key in weights if key in network)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("old", [False, True])
def test_a_model_of_ours_in_every_way(folder: Path, way: str, old: bool) -> None:
    before = load(folder).state_dict()
    (folder / "model.safetensors").unlink()
    WAYS[way](as_of_old(dict(before)) if old else dict(before), folder)
    after = load(folder).state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_half_precision_weights_are_read_as_float32(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file({k: w.half() for k, w in weights.items()}, folder / "model.safetensors")
    assert {weight.dtype for weight in load(folder).state_dict().values()} == {torch.float32}


def test_labels_that_yaml_reads_as_something_else(model_path: Path) -> None:
    assert load(model_path, labels=[0, True]).config.labels == ("0", "true")
    for labels in ("ab", [None, "b"], {"a": 0, "b": 1}):
        with pytest.raises(UserError, match=r"must be a list of names, such as 'model\.labels=\[incorrect,correct\]'"):
            load(model_path, labels=labels)


def test_labels_must_be_as_many_as_classes(model_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.labels names 3 classes; .* has 2"):
        load(model_path, labels=["a", "b", "c"])


def test_another_store_is_refused_unless_the_user_insists(model_path: Path, kge_path: Path) -> None:
    kge, network = KgeStore(path=str(kge_path)), load(model_path)
    network.config = replace(network.config, kge_digest="0" * 64)
    with pytest.raises(UserError, match=r"digest .* any_kge=true"):
        Predictor(network, kge)
    assert Predictor(network, kge, any_kge=True).labels == ("incorrect", "correct")
    network.config = replace(network.config, kge_digest=kge.digest, kge_nodes=5)
    with pytest.raises(UserError, match="119 nodes, but the model was trained with 5"):
        Predictor(network, kge)
    network.config = replace(network.config, kge_nodes=kge.nodes)
    Predictor(network, kge)


def test_a_model_saved_with_its_store_refuses_others(model_path: Path, kge_path: Path, tmp_path: Path) -> None:
    own = KgeStore(path=str(kge_path))
    load(model_path).save_pretrained(tmp_path / "model", kge=own)
    load(tmp_path / "model").save_pretrained(tmp_path / "again")
    network = load(tmp_path / "again")
    assert (network.config.kge_digest, network.config.kge_nodes) == (own.digest, own.nodes)
    Predictor(network, own)
    other = KgeStore(path=str(write_store(tmp_path / "other.h5", nodes=119, dimension=16, walk_length=5)))
    with pytest.raises(UserError, match=r"digest .* any_kge=true"):
        Predictor(network, other)
    Predictor(network, other, any_kge=True)


def test_the_digest_is_that_of_all_that_decides(model_path: Path, tmp_path: Path) -> None:
    digest = model_digest(load(model_path))
    load(model_path).save_pretrained(tmp_path / "again")
    assert model_digest(load(tmp_path / "again")) == digest
    others = [load(model_path, labels=["no", "yes"]), load(model_path), load(model_path)]
    others[1].text.tokenizer.normalizer = normalizers.Lowercase()
    torch.nn.init.constant_(others[2].classifier.bias[:1], 0.0)
    assert len({digest, *map(model_digest, others)}) == 4


def test_a_store_that_cannot_work_is_refused_even_then(model_path: Path, kge_path: Path) -> None:
    network = load(model_path)
    network.config = replace(network.config, walk_length=9)
    with pytest.raises(UserError, match="walks of length 5, but the model reads 9"):
        Predictor(network, KgeStore(path=str(kge_path)), any_kge=True)
