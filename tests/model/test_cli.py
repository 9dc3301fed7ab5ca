"""`stonkgs model convert` and `stonkgs model info`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import HIDDEN, NODES, WALK_LENGTH, file_size_limit
from network_inputs import network_inputs
from synthetic import as_published, write_model, write_store

from stonkgs.cli.model import main
from stonkgs.errors import UserError
from stonkgs.kge.store import KgeStore
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Inputs, Network, STonKGs

FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture
def here(tmp_path: Path, kge_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `published`, its `vocabulary`, and its store `kge.h5`, and in it."""
    model = write_model(
        tmp_path / "model", hidden=HIDDEN, layers=2, text_length=12, walk_length=WALK_LENGTH, max_position_embeddings=24
    )
    as_published(model, tmp_path / "published", nodes=len(NODES))
    shutil.rmtree(model)
    shutil.copy(kge_path, tmp_path / "kge.h5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def convert(*options: str) -> int:
    return main(["convert", "published", "--output", "ours", "--tokenizer", "vocabulary", *options])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def info(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    capsys.readouterr()
    assert main(["info", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:14].rstrip(): line[15:] for line in lines}


def published() -> Network:
    return STonKGs.from_pretrained("published", tokenizer="vocabulary")


def given(dimension: int, graph: int) -> Inputs:
    random = torch.Generator().manual_seed(0)
    return network_inputs(
        tokens=torch.randint(5, 190, (1, 7), generator=random),
        lengths=torch.tensor([7]),
        text=torch.tensor([0]),
        vectors=torch.randn(20, dimension, generator=random),
        graph=torch.randint(0, 23, (1, graph), generator=random),
    )


def test_converted_it_is_the_same_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert() == 0
    assert names(here / "ours") == FILES
    before, after = published(), STonKGs.from_pretrained("ours")
    assert after.config == before.config
    assert (after.config.legacy_text_padding, after.config.legacy_node_shift, after.config.kge_match) == (
        True,
        True,
        "exact",
    )
    assert model_digest(after) == model_digest(before)
    shown = capsys.readouterr().out
    parameters = sum(weight.numel() for weight in after.parameters())
    assert f"ours: {parameters:,} parameters, " in shown
    assert f"digest {model_digest(after)}\n" in shown
    assert "labels: LABEL_0, LABEL_1 (--labels gives them names)\n" in shown
    assert "store: not recorded" in shown


def test_the_logits_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    """Of a width where kernels round by where the weights lie."""
    model = write_model(tmp_path / "model", hidden=768, layers=1, text_length=32, walk_length=15)
    folder = as_published(model, tmp_path / "published", nodes=2000)
    vocabulary = str(tmp_path / "vocabulary")
    assert main(["convert", str(folder), "--output", str(tmp_path / "ours"), "--tokenizer", vocabulary]) == 0
    before = STonKGs.from_pretrained(folder, tokenizer=vocabulary)
    after = STonKGs.from_pretrained(tmp_path / "ours")
    inputs = given(768, before.config.graph_length)
    with torch.inference_mode():
        assert torch.equal(after(inputs), before(inputs))


def test_labels_and_store_are_recorded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert("--labels", "no, yes", "--kge", "kge.h5") == 0
    store, config = KgeStore(path="kge.h5"), STonKGs.from_pretrained("ours").config
    assert config.labels == ("no", "yes")
    assert (config.kge_digest, config.kge_nodes) == (store.digest, len(NODES))
    shown = capsys.readouterr().out
    assert "labels: no, yes\n" in shown
    assert f"store: kge.h5, {len(NODES)} nodes, digest {store.digest}\n" in shown


def test_a_pre_trained_checkpoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = torch.load("published/pytorch_model.bin", weights_only=True)
    kept = {key: weight for key, weight in weights.items() if not key.startswith("classifier.")}
    torch.save(kept, "published/pytorch_model.bin")
    assert convert() == 0
    assert "labels: none, pre-trained only\n" in capsys.readouterr().out
    before, after = published(), STonKGs.from_pretrained("ours")
    inputs = given(HIDDEN, before.config.graph_length)
    with torch.inference_mode():
        assert torch.equal(after.pooled(inputs), before.pooled(inputs))
    assert info(capsys, "ours")["labels"] == "none, pre-trained only"


@pytest.mark.parametrize(
    ("nodes", "dimension", "walk_length", "message"),
    [
        (len(NODES), 8, WALK_LENGTH, "vectors of dimension 8, but the model reads 16"),
        (len(NODES), HIDDEN, 4, "walks of length 4, but the model reads 5"),
        (110, HIDDEN, WALK_LENGTH, r"110 nodes, but the model was trained with 119\. Give the store .* to it$"),
        (90, HIDDEN, WALK_LENGTH, "numbers its nodes past 103"),
    ],
)
def test_a_store_that_does_not_fit(here: Path, nodes: int, dimension: int, walk_length: int, message: str) -> None:
    write_store(here / "other.h5", nodes=nodes, dimension=dimension, walk_length=walk_length)
    with pytest.raises(UserError, match=message):
        convert("--kge", "other.h5")
    assert not (here / "ours").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["published", "--output", "ours"], r"published: no vocab\.txt; .* as --tokenizer$"),
        (["published", "--output", "ours", "--tokenizer", "nowhere"], r"nowhere: no such folder; .* as --tokenizer$"),
        (["published", "--output", "ours", "--tokenizer", "vocabulary", "--labels", "a"], "--labels names 1 classes"),
        (["published", "--output", "ours", "--labels", "a,a"], "--labels a,a: must be a different name for each class"),
        (["published", "--output", "ours", "--labels", "a,"], "--labels a,: must be a different name for each class"),
        (["published", "--output", "ours", "--tokenizer", "vocabulary", "--kge", "no.h5"], r"no\.h5: no such file"),
        (["published", "--output", "kge.h5"], "kge.h5: exists; name another output"),
        (["published", "--output", "kge.h5", "--overwrite"], "kge.h5: no model folder of ours, and not replaced"),
        (["published", "--output", "vocabulary", "--overwrite"], "vocabulary: no model folder of ours"),
        (["published", "--output", "published", "--overwrite"], "published: no model folder of ours"),
        (["published", "--output", "kge.h5/ours", "--tokenizer", "vocabulary"], "kge.h5/ours: cannot be written"),
        (["nowhere", "--output", "ours"], "nowhere: no such folder; a model is a folder"),
        (["kge.h5", "--output", "ours"], "kge.h5: is no folder; a model is a folder"),
    ],
)
def test_what_cannot_be_converted_is_a_line(here: Path, arguments: list[str], message: str) -> None:
    before = names(here)
    with pytest.raises(UserError, match=message) as caught:
        main(["convert", *arguments])
    assert "\n" not in str(caught.value)
    assert names(here) == before
    assert names(here / "vocabulary") == ["vocab.txt"]


def test_what_is_ours_needs_no_converting(here: Path) -> None:
    convert()
    with pytest.raises(UserError, match="ours: a model folder of ours already"):
        main(["convert", "ours", "--output", "again"])


def test_a_checkpoint_of_another_kind(golden: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "transe" / "checkpoint", tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(config.read_text().replace("TransESTonKGs", "ProtSTonKGs"))
    with pytest.raises(UserError, match="a ProtSTonKGsForSequenceClassification; this release reads"):
        main(["convert", str(tmp_path / "other"), "--output", str(tmp_path / "ours")])


def test_overwrite_replaces_a_model_folder_alone(here: Path) -> None:
    convert()
    with pytest.raises(UserError, match=r"ours: exists; .* --overwrite"):
        convert("--labels", "no,yes")
    (here / "ours" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"ours: holds notes\.txt beside a model, and is not replaced"):
        convert("--labels", "no,yes", "--overwrite")
    assert STonKGs.from_pretrained("ours").config.labels == ("LABEL_0", "LABEL_1")
    (here / "ours" / "notes.txt").unlink()
    assert convert("--labels", "no,yes", "--overwrite") == 0
    assert STonKGs.from_pretrained("ours").config.labels == ("no", "yes")
    assert names(here / "ours") == FILES


def test_an_empty_folder_is_not_in_the_way(here: Path) -> None:
    (here / "ours").mkdir()
    assert convert() == 0
    assert names(here / "ours") == FILES


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_full_disk_leaves_what_was_there(here: Path, size: int) -> None:
    before = names(here)
    with file_size_limit(size), pytest.raises(UserError, match=r"^ours: cannot be written: File too large; name a"):
        convert()
    assert names(here) == before
    convert()
    with file_size_limit(size), pytest.raises(UserError, match="ours: cannot be written"):
        convert("--labels", "no,yes", "--overwrite")
    assert names(here / "ours") == FILES
    assert STonKGs.from_pretrained("ours").config.labels == ("LABEL_0", "LABEL_1")


def test_info_of_ours(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert("--labels", "no,yes", "--kge", "kge.h5")
    model, size = STonKGs.from_pretrained("ours"), sum((here / "ours" / name).stat().st_size for name in FILES)
    assert info(capsys, "ours") == {
        "model": "ours",
        "format": "ours, version 1",
        "labels": "no, yes",
        "a statement is": "of one of them",
        "reads": "text and graph",
        "calibration": "temperature 1",
        "parameters": f"{sum(weight.numel() for weight in model.parameters()):,}",
        "text backbone": "2 layers x 16 wide, 2 heads",
        "joint BERT": "2 layers x 16 wide, 2 heads",
        "text length": "12 tokens",
        "walk length": "5 nodes",
        "vocabulary": "193 entries, lower-casing",
        "legacy": "text padding is read, node numbers are shifted",
        "nodes found by": "exact",
        "trained with": f"119 nodes, digest {KgeStore(path='kge.h5').digest}",
        "digest": model_digest(model),
        "size": f"{size / 1e6:,.1f} MB",
    }


def test_info_of_a_published_checkpoint(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare, whole = info(capsys, "published"), info(capsys, "published", "--tokenizer", "vocabulary")
    assert bare["format"] == "published by the first implementation"
    assert bare["vocabulary"] == "not here: --tokenizer says where (dmis-lab/biobert-v1.1)"
    assert bare["digest"] == "needs the vocabulary"
    assert whole["digest"] == model_digest(published())
    assert whole["trained with"] == "119 nodes, digest not recorded"
    assert {key for key in bare if bare[key] != whole[key]} == {"vocabulary", "digest"}


def test_info_of_what_knows_little(model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(shutil.copytree(model_path, tmp_path / "copy"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | {"normalizer": None}))
    facts = info(capsys, str(folder))
    assert (facts["legacy"], facts["trained with"]) == ("nothing", "not recorded")
    assert facts["vocabulary"] == "193 entries, cased"
    assert facts["nodes found by"] == "identifier"


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("published", ["--tokenizer", "nowhere"], r"nowhere/vocab\.txt: not a vocabulary"),
        ("vocabulary", [], "vocabulary: no config.json"),
        ("kge.h5", [], "kge.h5: is no folder"),
        ("ours", [], r"tokenizer\.json: not a tokenizer"),
    ],
)
def test_info_of_what_is_no_model(here: Path, folder: str, options: list[str], message: str) -> None:
    convert()
    (here / "ours" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=message):
        main(["info", folder, *options])


def test_texts_of_a_model_cannot_drive_the_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads(Path("published/config.json").read_text())
    config["id2label"] = {"0": "\x1b[2Jno", "1": "a\nb"}
    Path("published/config.json").write_text(json.dumps(config))
    convert()
    assert "labels: ?[2Jno, a?b\n" in capsys.readouterr().out
    assert info(capsys, "ours")["labels"] == "?[2Jno, a?b"


@pytest.mark.parametrize("argv", [[], ["convert"], ["convert", "x"], ["info"], ["other"]])
def test_misuse_shows_the_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: stonkgs model" in capsys.readouterr().err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom stonkgs.cli.model import main\n"
        "try: main(['convert', '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'h5py', 'pyarrow', 'numpy') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert "--overwrite" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"
