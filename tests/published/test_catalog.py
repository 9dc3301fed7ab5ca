"""What is known of the published models, and the yaml of each."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from stonkgs.cli import CONFIG_DIR
from stonkgs.engine.settings import check_paths
from stonkgs.errors import UserError
from stonkgs.published.catalog import BACKBONE, GRAPH, MODELS, VOCABULARY, Deposit

CONFIGS = ROOT / "configs"
MODEL = "stonkgs.model.network.Network.published"
STORE = "stonkgs.kge.store.KgeStore"


def composed(command: str, overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(command, [*overrides])


def loaded(path: Path) -> DictConfig:
    config = OmegaConf.load(path)
    assert isinstance(config, DictConfig)
    return config


def test_each_has_a_yaml_of_its_name() -> None:
    files = {path.stem: loaded(path) for path in (CONFIGS / "model").glob("*.yaml")}
    named = {name: values["name"] for name, values in files.items() if values.get("_target_") == MODEL}
    assert named == {name: name for name in MODELS}


def test_classes_are_those_of_the_tasks() -> None:
    tuned = {name: model.labels for name, model in MODELS.items() if model.labels}
    tasks = {name: tuple(loaded(CONFIGS / "task" / f"{name}.yaml")["classes"]) for name in tuned}
    assert len(tuned) == 6
    assert tuned == tasks


def test_no_two_places_share_a_folder() -> None:
    """Nor does a name lead out of it."""
    deposits: list[Deposit] = [GRAPH, VOCABULARY, BACKBONE, *(model.deposit for model in MODELS.values())]
    assert len({deposit.folder for deposit in deposits}) == len(deposits)
    names = {name for deposit in deposits for name in (deposit.folder, *deposit.files)}
    assert not [name for name in names if "/" in name or name.startswith(".")]


@pytest.mark.parametrize("command", ["predict", "train"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_brings_its_store(command: str, name: str) -> None:
    cfg = composed(command, [f"model={name}"])
    assert cfg.model == {"_target_": MODEL, "name": name}
    assert cfg.kge == {"_target_": f"{STORE}.published", "path": None, "match": None}


@pytest.mark.parametrize("command", ["predict", "train"])
@pytest.mark.parametrize(
    ("overrides", "target", "path"),
    [
        (["model=species", "kge.path=mine.h5"], f"{STORE}.published", "mine.h5"),
        (["model=species", "kge=store", "kge.path=mine.h5"], STORE, "mine.h5"),
        (["kge=store", "model=species", "kge.path=mine.h5"], STORE, "mine.h5"),
        (["model.path=mine", "kge=published"], f"{STORE}.published", None),
        (["model.path=mine", "kge.path=mine.h5"], STORE, "mine.h5"),
    ],
)
def test_the_users_store_wins(command: str, overrides: list[str], target: str, path: str | None) -> None:
    cfg = composed(command, overrides)
    assert (cfg.kge._target_, cfg.kge.path) == (target, path)


def test_only_what_is_published_may_have_no_path() -> None:
    check_paths(composed("predict", ["model=species", "source.path=x"]))
    for overrides in (["kge=store", "kge.path=null"], ["kge.path=''"], ["source.path=null"]):
        with pytest.raises(UserError, match="is empty; name a file"):
            check_paths(composed("predict", ["model=species", "source.path=x", *overrides]))


def test_another_experiment_may_choose_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    """In a folder of the user's: overrides of overrides keep their order."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "experiment").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /model: species\n"
    (folder / "experiment" / "mine.yaml").write_text(text)
    cfg = composed("train", [f"hydra.searchpath=[file://{folder}]", "experiment=mine"])
    assert OmegaConf.select(cfg, "model.name") == "species"
    assert cfg.kge._target_ == f"{STORE}.published"
