"""Model folders: what is read, and what is refused with which words."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import safetensors.torch
import torch
from synthetic import as_published, write_store
from tokenizers import normalizers

from stonkgs.batch import collate
from stonkgs.encode.kge import KgeStore
from stonkgs.errors import UserError
from stonkgs.model.network import STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.record import model_digest
from stonkgs.source.base import ROLES
from stonkgs.statement import Statement


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
    ("special tokens of text", lambda f: edit(f, special_tokens=["x", 1, 2]), "three whole numbers"),
    ("no tokenizer", lambda f: (f / "tokenizer.json").unlink(), "not a tokenizer"),
    ("weights lacking", lambda f: reweigh(f, lambda w: w.pop("classifier.bias")), "lack classifier.bias"),
    (
        "weights of whole numbers",
        lambda f: reweigh(f, lambda w: w.update({"classifier.bias": torch.ones(2, dtype=torch.int64)})),
        r"classifier\.bias holds torch\.int64, not floating-point numbers",
    ),
    ("weights left over", lambda f: reweigh(f, lambda w: w.update(more=torch.ones(1))), "have more, which this model"),
    (
        "wrong shape",
        lambda f: reweigh(f, lambda w: w.update({"classifier.bias": torch.ones(7)})),
        r"classifier\.bias is \(7,\); by config\.json it should be \(2,\)",
    ),
]


#: In the place of a value of config.json, and the words of the refusal.
VALUES: list[tuple[dict[str, Any], str]] = [
    *(({"text_length": value}, "text_length is .* must be") for value in (-1, 0, 1, 2.5, True, None, "24")),
    *(({"walk_length": value}, "walk_length is .* must be") for value in (4.0, 0, [5])),
    *(({"special_tokens": value}, "special_tokens is .* must be") for value in ([1, 3], [1, 3, -4], [1, 3, True], 5)),
    ({"special_tokens": [1, 3, 10**6]}, "special_tokens reach 1000000, but this model has no more than"),
    ({"text_length": 10**6}, "text_length is 1000000, but"),
    ({"walk_length": 10**6}, "text and walks take 2000026, but"),
    ({"legacy_text_padding": 1}, "legacy_text_padding is 1; it must be true or false"),
    ({"legacy_node_shift": "no"}, "legacy_node_shift is 'no'; it must be true or false"),
    ({"kge_digest": 5}, "kge_digest is 5; it must be a text or null"),
    ({"kge_nodes": "119"}, "kge_nodes is '119'; it must be a whole number"),
    *(({"id2label": {"0": "a", "1": value}}, "id2label names a class") for value in (None, ["a"], 1)),
    ({"bert": 5}, "bert: not the configuration of a BERT"),
    ({"lm_backbone": {}}, "lm_backbone: not the configuration of a BERT"),
]
#: The same, within both BERTs.
BERT_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"hidden_size": True}, "hidden_size is True; it must be"),
    ({"type_vocab_size": None}, "type_vocab_size is None; it must be"),
    ({"layer_norm_eps": "small"}, "layer_norm_eps is 'small'; it must be"),
    ({"hidden_dropout_prob": 2}, "hidden_dropout_prob is 2; it must be"),
    ({"hidden_act": "nothing"}, "describes no BERT"),
    ({"intermediate_size": 10**18}, "describes no BERT|should be"),
    ({"num_attention_heads": 7}, "describes no BERT"),
]


@pytest.mark.parametrize(("changes", "message"), VALUES, ids=[str(v[0]) for v in VALUES])
def test_values_that_no_model_has(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), BERT_VALUES, ids=[str(v[0]) for v in BERT_VALUES])
def test_values_that_no_bert_has(folder: Path, changes: dict[str, Any], message: str) -> None:
    bert = json.loads((folder / "config.json").read_text())["bert"] | changes
    edit(folder, bert=bert, lm_backbone=bert)
    with pytest.raises(UserError, match=message):
        load(folder)


def test_the_words_that_the_joint_bert_has_not_are_not_made(folder: Path) -> None:
    edit(folder, bert=json.loads((folder / "config.json").read_text())["bert"] | {"vocab_size": 10**15})
    assert load(folder).config.bert["vocab_size"] == 10**15


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


def test_labels_that_yaml_reads_as_something_else(model_path: Path) -> None:
    assert load(model_path, labels=[0, True]).config.labels == ("0", "true")
    for labels in ("ab", [None, "b"], {"a": 0, "b": 1}):
        with pytest.raises(UserError, match=r"must be a list of names, such as 'model\.labels=\[incorrect,correct\]'"):
            load(model_path, labels=labels)


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


def test_damaged_weights_give_no_numbers(model_path: Path, kge_path: Path) -> None:
    network = load(model_path)
    torch.nn.init.constant_(network.classifier.bias, float("nan"))
    predictor = Predictor(network, KgeStore(path=str(kge_path)))
    examples = predictor.encoder()([Statement("NA", "NA", "x")])
    schema = pa.schema([(role, pa.string()) for role in ROLES])
    batch = collate(0, range(1), examples, schema=schema, roles={role: role for role in ROLES})
    with pytest.raises(UserError, match="gives values that are not numbers"):
        predictor(batch)


def test_the_digest_is_that_of_all_that_decides(model_path: Path, tmp_path: Path) -> None:
    digest = model_digest(load(model_path))
    load(model_path).save_pretrained(tmp_path / "again")
    assert model_digest(load(tmp_path / "again")) == digest
    others = [load(model_path, labels=["no", "yes"]), load(model_path), load(model_path)]
    others[1].text.tokenizer.normalizer = normalizers.Lowercase()
    torch.nn.init.constant_(others[2].classifier.bias[:1], 0.0)
    assert len({digest, *map(model_digest, others)}) == 4


def test_a_store_that_cannot_work_is_refused_even_then(folder: Path, kge_path: Path) -> None:
    edit(folder, walk_length=9)
    with pytest.raises(UserError, match="walks of length 5, but the model reads 9"):
        Predictor(load(folder), KgeStore(path=str(kge_path)), any_kge=True)
