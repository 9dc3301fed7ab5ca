"""Tasks: from a label column to class numbers, by hand, by law, and by every yaml on the real corpora."""

import csv
import gzip
import os
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig

from stonkgs.errors import UserError
from stonkgs.source.tsv import TsvSource
from stonkgs.statement import Statement
from stonkgs.train.task import MOST_CLASSES, Task, Unused

CONFIGS = ROOT / "configs"
TASKS = sorted(path.stem for path in (CONFIGS / "task").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONFIGS / "experiment").glob("*.yaml"))
#: The class orders of the published models.
PUBLISHED = {
    "species": "mouse rat human",
    "location": "extracellular_space cell_membrane cell_nucleus extracellular_matrix cytoplasm",
    "disease": "neuroblastoma multiple_myeloma lung_non-small_cell_carcinomaleukemia breast_cancer lung_cancer "
    "atherosclerosis osteosarcoma melanoma leukemia colon_cancer",
    "correct_multiclass": "act_vs_amt grounding hypothesis entity_boundaries no_relation correct wrong_relation "
    "polarity",
    "correct_binary": "incorrect correct",
    "cell_line": "HeLa THP-1 LNCAP COS-1 DMS_114 NIH-3T3 HEK293 MCF7 Hep_G2 U-937",
    "polarity": "down up",
    "interaction": "direct_interaction indirect_interaction",
}
#: What the experiments find in the real corpora: rows of each class, in the order of the logits.
FOUND = {
    "hbp_polarity": {"down": 12581, "up": 26824},
    "hbp_interaction": {"direct_interaction": 2962, "indirect_interaction": 36443},
    "hbp_correct_binary": {"incorrect": 1672, "correct": 903},
    "bel_polarity": {"down": 7114, "up": 13064},
    "bel_interaction": {"direct_interaction": 599, "indirect_interaction": 16536},
    "bel_species": {"10090": 2636, "10116": 384, "6239": 90, "7227": 113, "9606": 497},
    "bel_disease": (10, 4343),
    "bel_cell_line": (8, 758),
    "bel_location": (13, 2627),
}


def row(**columns: Any) -> Statement:
    return Statement("p(HGNC:1)", "p(HGNC:2)", "x", columns)


def told(**settings: Any) -> str:
    """What is said of settings that make no task."""
    with pytest.raises(UserError) as error:
        Task(**{"name": "t", **settings})
    assert "\n" not in str(error.value)
    return str(error.value)


def refused(task: Task, counts: Mapping[tuple[str, ...], int]) -> str:
    """What is said of rows that a task cannot be learned from."""
    with pytest.raises(UserError) as error:
        task.decide(counts)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- values


@pytest.mark.parametrize(
    ("value", "values"),
    [
        ("up", ("up",)),
        (" up | down|up||", ("down", "up")),
        (10090, ("10090",)),
        (10090.0, ("10090",)),
        (0.5, ("0.5",)),
        (True, ("true",)),
        (["up", "down", None], ("down", "up")),
        (None, Unused.UNLABELLED),
        (float("nan"), Unused.UNLABELLED),
        ("", Unused.UNLABELLED),
        (" | ", Unused.UNLABELLED),
        ([], Unused.UNLABELLED),
    ],
)
def test_values_of_a_field(value: Any, values: object) -> None:
    assert Task(name="t").values(row(t=value)) == values


def test_map_comes_once_and_ignore_on_either_side() -> None:
    task = Task(name="t", map={"a": "b", "b": "c", "m": "out"}, ignore=["out", "raw"])
    assert task.values(row(t="a")) == ("b",)
    assert task.values(row(t="a|b|c")) == ("b", "c")
    assert task.values(row(t="m|raw|out")) == Unused.IGNORED
    assert task.values(row(t="m|x")) == ("x",)


def test_names_of_the_yaml_become_text() -> None:
    settings: dict[str, Any] = {
        "classes": [1, True],
        "map": {10090: 1, 9606.0: True, "no": 1},
        "where": {"w": [7, False]},
    }
    task = Task(name="t", **settings)
    assert task.classes == ("1", "true")
    assert task.map == {"10090": "1", "9606": "true", "no": "1"}
    assert task.values(row(t="10090", w=7)) == ("1",)
    assert task.values(row(t=9606, w=False)) == ("true",)


def test_where_wants_one_of_its_values_in_each_column() -> None:
    task = Task(name="t", where={"a": "1", "b": ["2", "3"]})
    assert task.values(row(t="x", a="0|1", b="3")) == ("x",)
    for a, b in (("1", "4"), ("0", "2"), ("", "2"), (None, "2")):
        assert task.values(row(t="x", a=a, b=b)) == Unused.FILTERED


def test_a_task_travels_to_the_workers() -> None:
    task = Task(name="t", classes=["x", "y"], map={"z": "x"})
    classes = task.decide({("x",): 2, ("y",): 3})
    again, decided = pickle.loads(pickle.dumps((task, classes)))
    assert vars(again) == vars(task)
    assert decided == classes
    assert decided.target(("y",)) == 1


# ---- settings that make no task


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": ""}, "task.name"),
        ({"name": None}, "task.name"),
        ({"column": ""}, "task.column"),
        ({"column": ["a"]}, "task.column"),
        ({"classes": "up"}, "task.classes='up': must be a list"),
        ({"classes": ["up"]}, "task.classes=['up']: must be a list"),
        ({"classes": ["1", 1]}, "distinct"),
        ({"classes": {"up": 1, "down": 2}}, "must be a list"),
        ({"classes": ["up", None]}, "task.classes: None is no name"),
        ({"classes": ["up", " "]}, "task.classes: ' ' is no name"),
        ({"classes": ["up", "a|b"]}, "'a|b' is no name"),
        ({"classes": ["up", "a\tb"]}, r"'a\tb' is no name"),
        ({"classes": ["up", "a\nb"]}, r"'a\nb' is no name"),
        ({"classes": ["up", ["down"]]}, "['down'] is no name"),
        ({"map": ["a"]}, "task.map=['a']: must be a table"),
        ({"map": {"a": None}}, "task.map: None is no name"),
        ({"map": {"a": "dwn"}, "classes": ["up", "down"]}, "'dwn', which is neither a class nor ignored"),
        ({"map": {"a": "dwn"}, "classes": ["up", "down"]}, "did you mean 'down'?"),
        ({"ignore": "corrected"}, "task.ignore='corrected': must be a list"),
        ({"ignore": ["up"], "classes": ["up", "down"]}, "task.ignore: 'up' is also one of task.classes"),
        ({"min_count": 0}, "task.min_count=0: must be a whole number"),
        ({"min_count": 2.0}, "task.min_count=2.0"),
        ({"min_count": True}, "task.min_count=True"),
        ({"where": "x"}, "task.where='x': must be a table"),
        ({"where": {"a": {"b": "c"}}}, "task.where.a"),
        ({"where": {"a": None}}, "task.where.a: None is no name"),
        ({"multi_label": "yes"}, "task.multi_label=yes: must be true or false"),
    ],
)
def test_settings_that_make_no_task(settings: dict[str, Any], words: str) -> None:
    assert words in told(**settings)


def test_map_to_what_is_ignored() -> None:
    task = Task(name="t", classes=["up", "down"], map={"a": "none"}, ignore=["none"])
    assert task.values(row(t="a")) == Unused.IGNORED


def test_columns_that_the_input_lacks() -> None:
    Task(name="t", where={"w": "1"}).check(["source", "t", "w"])
    with pytest.raises(UserError, match=r"no column 'polarty'.*did you mean 'polarity'\?.*task\.column="):
        Task(name="polarty").check(["source", "polarity"])
    with pytest.raises(UserError, match=r"no column 'w'; there are \['t'\]\. Name yours with task\.where"):
        Task(name="t", where={"w": "1"}).check(["t"])


# ---- deciding


def test_discovered_classes_are_sorted_and_rare_ones_left_out() -> None:
    counts = {("b",): 5, ("a",): 3, ("a", "b"): 9, ("rare",): 2, ("rarer",): 1, ("c", "d"): 4}
    classes = Task(name="t", min_count=3).decide(counts)
    assert classes.labels == ("a", "b")
    assert classes.counts == {"a": 3, "b": 5}
    assert classes.left_out == {"rare": 2, "rarer": 1}
    assert classes.ambiguous == 13
    assert [classes.target(values) for values in counts] == [1, 0, None, None, None, None]


def test_multi_label_rows_keep_the_classes_that_they_have() -> None:
    classes = Task(name="t", min_count=3, multi_label=True).decide({("a", "b"): 3, ("b", "rare"): 2, ("rare",): 0})
    assert (classes.counts, classes.left_out, classes.ambiguous) == ({"a": 3, "b": 5}, {"rare": 2}, 0)
    assert [classes.target(values) for values in (("a", "b"), ("b", "rare"), ("rare",))] == [(0, 1), (1,), None]


def test_given_classes_keep_their_order() -> None:
    classes = Task(name="t", classes=["up", "down"]).decide({("down",): 2, ("up",): 7, ("down", "up"): 1})
    assert (classes.labels, classes.ambiguous, classes.left_out) == (("up", "down"), 1, {})
    assert classes.target(("up",)) == 0
    several = Task(name="t", classes=["up", "down"], multi_label=True).decide({("down", "up"): 2})
    assert several.target(("down", "up")) == (0, 1)


def test_rows_that_fit_no_given_class() -> None:
    counts: dict[tuple[str, ...], int] = {(f"other{number}",): number for number in range(1, 8)}
    counts |= {("up",): 9, ("down",): 9}
    message = refused(Task(name="t", classes=["up", "down"]), counts)
    assert "'other7' (7 rows), 'other6' (6 rows), " in message
    assert "'other3' (3 rows) and 2 more;" in message
    assert all(key in message for key in ("task.classes", "task.map", "task.ignore"))
    assert "'odd' (1 row)" in refused(Task(name="t", classes=["up", "down"]), {("odd", "up"): 1})


def test_given_classes_of_too_few_rows() -> None:
    task = Task(name="t", classes=["x", "y", "z"], min_count=1)
    message = refused(task, {("x",): 1, ("y",): 2, ("y", "z"): 8})
    assert "class 'x' has 1 row, class 'z' has no row, but a class needs 2 or more" in message
    message = refused(Task(name="t", classes=["x", "y"], min_count=4), {("x",): 3, ("y",): 4})
    assert "class 'x' has 3 rows, but a class needs 4 or more" in message


def test_columns_that_make_no_task() -> None:
    task = Task(name="t", column="c")
    assert "no row has a class: the column 'c' is empty" in refused(task, {})
    assert "has no value of 2 rows or more" in refused(task, {("x",): 1, ("y",): 1})
    assert "only one value, 'x', of 2 rows or more" in refused(task, {("x",): 2, ("y",): 1})
    assert "9 rows of several count only with task.multi_label=true" in refused(task, {("x",): 2, ("x", "y"): 9})
    ids: dict[tuple[str, ...], int] = {(str(number),): 2 for number in range(MOST_CLASSES + 1)}
    assert "column 'c' has 1,001 values of 2 rows or more; is this the right column?" in refused(task, ids)
    assert len(task.decide(dict(list(ids.items())[1:])).labels) == MOST_CLASSES
    assert r"'a\nb' is no name" in refused(task, {("a\nb",): 2, ("y",): 2})


# ---- laws


VALUES = st.sampled_from(["a", "b", "c", "d", "skip", "old", ""])
FIELDS = st.lists(VALUES, max_size=4).map("|".join) | st.none() | st.integers(0, 3) | st.booleans()
ROWS = st.lists(st.tuples(FIELDS, st.sampled_from(["1", "2", ""])), max_size=40)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"min_count": 1},
    {"min_count": 3},
    {"map": {"old": "a"}, "ignore": ["skip"]},
    {"where": {"w": ["1", "2"]}},
    {"classes": ["b", "a"], "map": {"old": "a"}, "ignore": ["skip", "c", "d", *"0123", "true", "false"]},
]


@given(ROWS, st.sampled_from(SETTINGS), st.booleans())
def test_every_row_is_used_or_told_why_not(
    rows: Sequence[tuple[Any, str]], settings: dict[str, Any], multi_label: bool
) -> None:
    task = Task(name="t", multi_label=multi_label, **settings)
    found = [task.values(row(t=field, w=w)) for field, w in rows]
    labelled = [values for values in found if not isinstance(values, Unused)]
    assert all(values == tuple(sorted(set(values))) != () for values in labelled)
    assert not {value for values in labelled for value in values} & {*task.ignore, *task.map, "", " "}
    counts = Counter(labelled)
    try:
        classes = task.decide(counts)
    except UserError:
        return
    targets = [classes.target(values) for values in labelled]
    used = Counter(number for target in targets for number in _numbers(target))
    assert {label: used[number] for number, label in enumerate(classes.labels)} == classes.counts
    assert all(count >= task.min_count for count in classes.counts.values())
    assert not set(classes.left_out) & set(classes.labels)
    unused = [values for values, target in zip(labelled, targets, strict=True) if target is None]
    if multi_label:
        total = sum(map(len, labelled))
        assert all(set(values) <= set(classes.left_out) for values in unused)
    else:
        total = len(labelled) - classes.ambiguous
        assert all(len(values) > 1 or values[0] in classes.left_out for values in unused)
    assert sum(classes.counts.values()) + sum(classes.left_out.values()) == total


@given(ROWS, st.booleans(), st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[Any, str]], multi_label: bool, random: Any) -> None:
    task = Task(name="t", min_count=1, multi_label=multi_label)

    def decided() -> object:
        found = [task.values(row(t=field)) for field, _ in rows]
        try:
            return task.decide(Counter(values for values in found if not isinstance(values, Unused)))
        except UserError as error:
            return str(error)

    before = decided()
    random.shuffle(rows)
    assert decided() == before


def _numbers(target: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return () if target is None else target if isinstance(target, tuple) else (target,)


# ---- every yaml


@pytest.fixture
def primary(tmp_path: Path) -> Path:
    """A configuration with what the experiments override."""
    (tmp_path / "primary.yaml").write_text(
        "defaults: [{source: tsv}, {task: '???'}, {experiment: null}, _self_]\n"
        f"hydra: {{searchpath: ['file://{CONFIGS}']}}\n"
    )
    return tmp_path


def composed(primary: Path, *arguments: str) -> DictConfig:
    with initialize_config_dir(str(primary), version_base="1.3"):
        return compose("primary", list(arguments))


def built(config: DictConfig) -> Task:
    task = instantiate(config.task, _convert_="all")
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize("name", sorted({*PUBLISHED, *TASKS} - {"discover"}))
def test_every_task_is_named_as_its_file(primary: Path, name: str) -> None:
    task = built(composed(primary, f"task={name}"))
    assert (task.name, task.column, task.multi_label) == (name, name, False)
    if name in PUBLISHED:
        assert task.classes == tuple(PUBLISHED[name].split())


@pytest.mark.parametrize("name", [name for name in TASKS if name != "pretraining"])
def test_every_key_can_be_overridden_without_a_plus(primary: Path, name: str) -> None:
    keys = ["name=n", "column=c", "classes=[down,up]", "ignore=[corrected]", "min_count=7", "multi_label=true"]
    keys += ["where={belief: [0.65, 1]}"]
    keys += [f"map.{number}=up" for number in (10090, 10116, 9606)] if name == "species" else ["map={10116: up}"]
    task = built(composed(primary, f"task={name}", *(f"task.{key}" for key in keys)))
    assert (task.name, task.column, task.classes, task.min_count) == ("n", "c", ("down", "up"), 7)
    assert (task.ignore, task.multi_label, task.map["10116"]) == (frozenset({"corrected"}), True, "up")
    assert task.where == {"belief": {"0.65", "1"}}


def test_species_by_taxonomy_number(primary: Path) -> None:
    task = built(composed(primary, "task=species"))
    assert [task.values(row(species=value)) for value in ("9606", 10090, "rat|10116")] == [
        ("human",),
        ("mouse",),
        ("rat",),
    ]


def test_one_taxonomy_number_can_be_given_another_class(primary: Path) -> None:
    for override in ("task.map.10116=mouse", "+task.map={10116: mouse}"):
        task = built(composed(primary, "task=species", override, "task.classes=[mouse,human]"))
        assert task.map == {"10090": "mouse", "10116": "mouse", "9606": "human"}


def test_any_column_without_a_yaml_of_its_own(primary: Path) -> None:
    task = built(composed(primary, "task=discover", "task.name=mine"))
    assert (task.name, task.column, task.classes) == ("mine", "mine", None)
    assert built(composed(primary, "task=discover", "task.name=mine", "task.column=theirs")).column == "theirs"


def test_every_experiment_is_known() -> None:
    assert set(EXPERIMENTS) == {*FOUND, "pretrain"}


@pytest.mark.parametrize("name", FOUND)
def test_experiments_on_the_real_corpora(primary: Path, corpora: Path, name: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("STONKGS_CORPORA", str(corpora))
    config = composed(primary, f"experiment={name}")
    task, path = built(config), Path(config.source.path)
    assert path.parent == corpora
    assert instantiate(config.source, _convert_="all").path == str(path)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file, delimiter="\t")
        task.check(lines.fieldnames or ())
        found = Counter(task.values(row(**line)) for line in lines)
    counts = {values: count for values, count in found.items() if not isinstance(values, Unused)}
    classes = task.decide(counts)
    expected = FOUND[name]
    if isinstance(expected, dict):
        assert list(classes.counts.items()) == list(expected.items())
    else:
        assert (len(classes.labels), sum(classes.counts.values())) == expected
        assert min(classes.counts.values()) >= task.min_count
    used = sum(count for values, count in counts.items() if classes.target(values) is not None)
    assert used == sum(classes.counts.values())


def test_a_source_s_statements_have_the_column(primary: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("source\ttarget\tevidence\tpolarity\na\tb\tx\tup\na\tb\ty\t\na\tb\tz\tdown|up\n")
    task = built(composed(primary, "task=polarity"))
    source = TsvSource(path=str(path))
    task.check(source.plan(10).schema.names)
    found = [task.values(statement) for statement in source if isinstance(statement, Statement)]
    assert found == [("up",), Unused.UNLABELLED, ("down", "up")]


def test_experiments_read_the_shared_folder_by_default(primary: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("STONKGS_CORPORA", raising=False)
    assert (
        os.fspath(composed(primary, "experiment=hbp_polarity").source.path) == "../shared/data/indra_hbp_edges.tsv.gz"
    )
