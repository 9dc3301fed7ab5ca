"""Model folders that are damaged, hostile or another model's: each refused in a line that names the place."""

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from stonkgs.batch import collate
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.network import Network, STonKGs
from stonkgs.model.predictor import Predictor
from stonkgs.statement import Statement


def load(path: Path, **options: Any) -> Network:
    return STonKGs.from_pretrained(str(path), **options)


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
    with pytest.raises(UserError, match=r"pytorch_model\.bin: not readable as weights alone") as caught:
        load(folder)
    assert not trap.exists()
    assert str(caught.value).endswith(
        "it is damaged, or holds objects that could run code; fetch it again, or as model.safetensors"
    ), "torch's own advice is to run it"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def reweigh(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    change(weights)
    safetensors.torch.save_file(weights, folder / "model.safetensors")


SHARD = "model-1-of-2.safetensors"
#: A header of 2**63 bytes, says the file.
HUGE = struct.pack("<Q", 2**63) + b'{"a": 1}'


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


def half_a_torch_file(folder: Path) -> None:
    torch_weights(folder, {"classifier.bias": torch.ones(2)})
    cut(folder / "pytorch_model.bin")


def pointer(folder: Path) -> None:
    """What git leaves where its large files were not fetched."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def torch_weights(folder: Path, weights: Any) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def shards(folder: Path, places: Any, *names: str) -> None:
    """Weights in shards by these names, and an index that says so."""
    (folder / "model.safetensors").unlink()
    for name in names:
        safetensors.torch.save_file({"classifier.bias": torch.ones(2)}, folder / name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def lack(folder: Path, key: str) -> None:
    bert = json.loads((folder / "config.json").read_text())["bert"]
    edit(folder, bert={name: value for name, value in bert.items() if name != key})


def fewer_words(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    del values["model"]["vocab"]["##~"]
    path.write_text(json.dumps(values))


DAMAGE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("no folder", shutil.rmtree, "copy: no such folder; a model is a folder"),
    ("a file", a_file, r"copy: is no folder; a model is a folder"),
    ("no config", lambda f: (f / "config.json").unlink(), r"no config\.json; a model is a folder"),
    ("no weights", lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    ("cut weights", lambda f: (f / "model.safetensors").write_bytes(b"\0" * 100), "not readable as weights"),
    (
        "weights of a huge header",
        lambda f: (f / "model.safetensors").write_bytes(HUGE),
        "(?i)header ?too ?large; fetch",
    ),
    ("weights half there", lambda f: cut(f / "model.safetensors"), "not readable as weights alone: .*; fetch it again"),
    ("weights that are no weights", lambda f: torch_weights(f, {"classifier.bias": "x"}), "not a table of weights"),
    ("weights without names", lambda f: torch_weights(f, {5: torch.ones(1)}), "not a table of weights"),
    ("weights in no table", lambda f: torch_weights(f, [torch.ones(1)]), "not a table of weights"),
    ("sparse weights", lambda f: torch_weights(f, {"a": torch.eye(3).to_sparse()}), "not a table of weights"),
    (
        "weights of more numbers than bytes",
        lambda f: torch_weights(f, {"a": torch.ones(1).expand(10**12)}),
        "not a table of weights",
    ),
    (
        "torch weights cut",
        half_a_torch_file,
        "as weights alone: .*; fetch",
    ),
    (
        "a shard that is not there",
        lambda f: shards(f, {"classifier.bias": SHARD, "x": "model-2-of-2.safetensors"}, SHARD),
        r"index\.json: the shard model-2-of-2\.safetensors is not there; fetch it too",
    ),
    (
        "a shard that lacks a weight",
        lambda f: shards(f, {"classifier.bias": SHARD, "x": SHARD}, SHARD),
        r"index\.json: the shard model-1-of-2\.safetensors lacks x; fetch it again",
    ),
    (
        "a shard elsewhere",
        lambda f: shards(f, {"x": f"../copy/{SHARD}"}, SHARD),
        r"index\.json: names no files of weights beside it as shards",
    ),
    ("shards of no table", lambda f: shards(f, [SHARD], SHARD), "names no files of weights beside it as shards"),
    ("a shard of another kind", lambda f: shards(f, {"x": "config.json"}), "names no files of weights beside it"),
    (
        "shards without their index",
        lambda f: (f / "model.safetensors").rename(f / "model-00001-of-00002.safetensors"),
        r"model-00001-of-00002\.safetensors is a shard of the weights, but their index is not there",
    ),
    ("a pointer to weights", pointer, "it is damaged, or holds objects"),
    ("config no UTF-8", lambda f: (f / "config.json").write_bytes(b'{"\xff'), "not readable as JSON"),
    ("config of a BERT lacking", lambda f: lack(f, "hidden_size"), "bert: not the configuration of a BERT, which has"),
    ("config no JSON", lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
    ("config a list", lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    ("config nested deep", lambda f: (f / "config.json").write_text("[" * 100_000), "not readable as JSON"),
    ("config of tomorrow", lambda f: edit(f, version=2), "this release reads 1"),
    ("labels with a gap", lambda f: edit(f, id2label={"0": "a", "2": "b"}), "id2label has the numbers"),
    ("labels a list", lambda f: edit(f, id2label=["a", "b"]), "id2label is not a table"),
    ("one label too many", lambda f: edit(f, id2label={"0": "a", "1": "b", "2": "c"}), "classifier"),
    ("special tokens of text", lambda f: edit(f, special_tokens=["x", 1, 2]), "three whole numbers"),
    ("a tokenizer of other size", fewer_words, "192 entries, but the model's text backbone has 193"),
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
    *(
        ({"kge_match": value}, "kge_match is .* must be exact or identifier")
        for value in ("fuzzy", "Exact", None, 1, ["exact"])
    ),
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
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": [5, "\x1b[2J"]}, r"a 5, \?\[2J; this release reads"),
        ({"architectures": "BertModel"}, "a BertModel; this release reads"),
        ({"kg_vocab_size": "many"}, "kge_nodes is 'many'; it must be"),
        ({"architectures": ["ProtSTonKGsForSequenceClassification"]}, "a ProtSTonKGs.*; this release reads"),
        ({"architectures": ["TransESTonKGsForSequenceClassification"]}, r"by config\.json it should be"),
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


def test_damaged_weights_give_no_numbers(folder: Path, kge_path: Path) -> None:
    reweigh(folder, lambda w: w["lm_backbone.encoder.layer.0.output.dense.weight"].fill_(float("nan")))
    predictor = Predictor(load(folder), KgeStore(path=str(kge_path)))
    batch = collate(list(enumerate(predictor.encoder()([Statement("NA", "NA", "x")]))))
    with pytest.raises(UserError, match="gives values that are not numbers: its weights, or the vectors of"):
        predictor(batch)
