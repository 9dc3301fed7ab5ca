"""Every kind of bad input, by stage, with the line that the user sees.

A case is a function that spoils a good run's arguments, in a folder with good files, and a pattern of the one line
that must come of it. Nothing may be half-written, and nothing may end in a traceback.
"""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from conftest import NODES, ROOT, file_size_limit

from stonkgs.cli import main

#: From a folder with rows.tsv, model/ and kge.h5 to the overrides that are bad.
Spoil = Callable[[Path], list[str]]

HEADER = "source\ttarget\tevidence\n"
ROW = f"{NODES[0]}\tNA\tHIF1A acts\n"
GOOD = HEADER + ROW * 3


class Case(NamedTuple):
    """What is bad, and what is said of it."""

    stage: str
    spoil: Spoil
    line: str


CASES: dict[str, Case] = {}


def bad(stage: str, line: str) -> Callable[[Spoil], Spoil]:
    """Enter a case into the table: `line` is a pattern, `{}` the folder."""

    def enter(spoil: Spoil) -> Spoil:
        CASES[spoil.__name__] = Case(stage, spoil, line)
        return spoil

    return enter


def rows(folder: Path, content: bytes | str, name: str = "bad.tsv") -> list[str]:
    """The overrides for an input of this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = {"jsonl": ["source=jsonl"], "parquet": ["source=parquet"], "csv": ["source=csv"]}
    return [*source.get(name.split(".")[1], []), f"source.path={path}"]


# ---------------------------------------------------------------------------------------------------------- source


@bad("source", r"{}/nope\.tsv: no such file")
def no_file(folder: Path) -> list[str]:
    return [f"source.path={folder}/nope.tsv"]


@bad("source", r"{}/model: is a directory; name its files, for example '{}/model/\*\.tsv'")
def a_directory(folder: Path) -> list[str]:
    return [f"source.path={folder}/model"]


@bad("source", r"{}/bad\.tsv: is empty; its first line has to give the columns' names")
def an_empty_file(folder: Path) -> list[str]:
    return rows(folder, "")


@bad("source", r"{}/bad\.tsv\.gz: its gzip data is cut short or damaged .*; fetch it again")
def a_truncated_gzip(folder: Path) -> list[str]:
    return rows(folder, gzip.compress(os.urandom(3000).hex().encode() + GOOD.encode())[:1500], "bad.tsv.gz")


@bad("source", r"{}/bad\.tsv\.zst: its zstd data is cut short or damaged .*; fetch it again")
def a_truncated_zstd(folder: Path) -> list[str]:
    data = GOOD.encode() + os.urandom(3000).hex().encode()
    return rows(folder, pa.compress(data, "zstd", asbytes=True)[:1500], "bad.tsv.zst")


@bad("source", r"{}/bad\.tsv\.gz: its gzip data unpacks to more than 250 times its size, .*unpack it yourself")
def a_gzip_bomb(folder: Path) -> list[str]:
    path = folder / "bad.tsv.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(GOOD.encode())
        for _ in range(3):
            file.write(b"x" * (8 << 20))
    return [f"source.path={path}"]


@bad("source", r"{}/bad\.tsv: more than one column is called 'evidence'; rename them")
def duplicate_columns(folder: Path) -> list[str]:
    return rows(folder, "source\ttarget\tevidence\tevidence\na\tb\tc\td\n")


@bad("source", r"{}/bad\.tsv: no column 'evidence'; there are \['source', 'target', 'text'\]\. Name yours with")
def a_missing_column(folder: Path) -> list[str]:
    return rows(folder, "source\ttarget\ttext\na\tb\tc\n")


@bad("source", r"{}/bad\.tsv: .*UTF-16")
def utf_16(folder: Path) -> list[str]:
    return rows(folder, GOOD.encode("utf-16"))


@bad("source", r"{}/bad\.tsv: the header is not UTF-8; convert the file")
def a_header_in_latin_1(folder: Path) -> list[str]:
    return rows(folder, "source\ttarget\tevidence\tmaß\n".encode("latin-1"))


@bad("source", r"{}/b\.tsv: column 3 is 'evidence' .*, but in {}/a\.tsv it is 'pmid' .*same columns")
def files_of_differing_columns(folder: Path) -> list[str]:
    rows(folder, "source\ttarget\tpmid\tevidence\n", "a.tsv")
    rows(folder, GOOD, "b.tsv")
    return [f"source.path=[{folder}/a.tsv,{folder}/b.tsv]"]


@bad(
    "source", r"{}/bad\.jsonl: is a JSON array, not JSON Lines; write an object a line, for example with jq -c '\.\[\]'"
)
def a_json_array(folder: Path) -> list[str]:
    return rows(folder, json.dumps([{"source": "a", "target": "b", "evidence": "c"}]), "bad.jsonl")


@bad("source", r"{}/bad\.parquet: column 'evidence' is int64, not text; convert it to strings, or name another")
def a_parquet_of_a_wrong_type(folder: Path) -> list[str]:
    pq.write_table(pa.table({"source": ["a"], "target": ["b"], "evidence": [1]}), folder / "bad.parquet")
    return ["source=parquet", f"source.path={folder}/bad.parquet"]


@bad("source", r"{}/bad\.parquet: cannot be read as Parquet, is it damaged or of another format\?")
def a_parquet_cut_short(folder: Path) -> list[str]:
    pq.write_table(pa.table({"source": ["a"], "target": ["b"], "evidence": ["c"]}), folder / "whole.parquet")
    return rows(folder, (folder / "whole.parquet").read_bytes()[:-10], "bad.parquet")


def a_parquet_named(folder: Path, name: bytes, **columns: list[Any]) -> list[str]:
    """The overrides for a Parquet file whose name "xxxx" is another one of four bytes."""
    table = {"source": ["a"], "target": ["b"], "evidence": ["c"], **columns}
    pq.write_table(pa.table(table), folder / "whole.parquet", store_schema=False)
    return rows(folder, (folder / "whole.parquet").read_bytes().replace(b"xxxx", name), "bad.parquet")


@bad("source", r"{}/bad\.parquet: the name of a column, or of a field in one, is not UTF-8; rename it")
def a_parquet_column_in_latin_1(folder: Path) -> list[str]:
    return a_parquet_named(folder, b"ma\xdfe", xxxx=["d"])


@bad("source", r"{}/bad\.parquet: the name of a column, or of a field in one, is not UTF-8; rename it")
def a_parquet_field_in_latin_1(folder: Path) -> list[str]:
    return a_parquet_named(folder, b"ma\xdfe", nested=[{"xxxx": 1}])


INDRA = {"type": "Phosphorylation", "enz": {"name": "A", "db_refs": {}}, "evidence": [{"text": "x"}]}


@bad("source", r"{}/bad\.tsv: no column 'source'; there are \[.*\]\. It looks like INDRA statements: source=indra")
def indra_statements_as_tsv(folder: Path) -> list[str]:
    return rows(folder, 3 * (json.dumps(INDRA) + "\n"))


@bad("source", r"{}/bad\.tsv: no column 'source'; there are \['\['\]\. It looks like INDRA statements: source=indra")
def a_list_of_indra_statements_as_tsv(folder: Path) -> list[str]:
    return rows(folder, json.dumps([INDRA, INDRA], indent=1))


@bad("source", r"{}/bad\.csv: .*\. It looks like INDRA statements: source=indra")
def indra_statements_as_csv(folder: Path) -> list[str]:
    return rows(folder, 3 * (json.dumps(INDRA) + "\n"), "bad.csv")


@bad("source", r"{}/bad\.jsonl: no column 'source'; .*\. It looks like INDRA statements: source=indra")
def indra_statements_as_jsonl(folder: Path) -> list[str]:
    return rows(folder, 3 * (json.dumps(INDRA) + "\n"), "bad.jsonl")


@bad("source", r"{}/bad\.jsonl: is a JSON array, not JSON Lines\. It looks like INDRA statements: source=indra")
def a_list_of_indra_statements_as_jsonl(folder: Path) -> list[str]:
    return rows(folder, json.dumps([INDRA]), "bad.jsonl")


@bad("source", r"{}/bad\.tsv: no column 'source'; .*\. It looks like INDRA statements: source=indra")
def a_dump_of_indra_db_as_tsv(folder: Path) -> list[str]:
    return rows(folder, f"-123\t{json.dumps(INDRA)}\n")


@bad("source", r"{}/bad\.tsv: no column 'source'; .*\. It looks like a BEL graph: source=bel")
def a_bel_graph_as_tsv(folder: Path) -> list[str]:
    graph = {"directed": True, "graph": {"document_metadata": {}}, "links": [], "multigraph": True, "nodes": []}
    return rows(folder, json.dumps(graph))


@bad("source", r"{}/bad\.tsv: no column 'source'; there are \['\['\]\. It looks like a JSON array: .* source=jsonl")
def a_list_of_rows_as_tsv(folder: Path) -> list[str]:
    return rows(folder, json.dumps([{"source": "a", "target": "b", "evidence": "c"}], indent=1))


@bad("source", r"{}/bad\.tsv: no column 'source'; .*\. It looks like JSON Lines: source=jsonl")
def rows_of_json_as_tsv(folder: Path) -> list[str]:
    return rows(folder, json.dumps({"source": "a", "target": "b", "evidence": "c"}) + "\n")


@bad("source", r"{}/x{300}\.tsv: File name too long; name a shorter path")
def an_input_of_a_long_name(folder: Path) -> list[str]:
    return [f"source.path={folder}/{'x' * 300}.tsv"]


@bad("source", r"all 2 rows were rejected: see {}/out/rejected\.jsonl")
def nothing_but_bad_rows(folder: Path) -> list[str]:
    return rows(folder, HEADER + "a\tb\nc\n")


@bad("source", r"{}/bad\.tsv, line 3, byte \d+: 2 fields, the header has 3")
def the_first_bad_row_where_asked(folder: Path) -> list[str]:
    return [*rows(folder, HEADER + ROW + "a\tb\n" + ROW), "on_error=raise"]


@bad("source", r"source\.limit=0: must be a whole number of 1 or more")
def a_limit_of_nothing(folder: Path) -> list[str]:
    return ["source.limit=0"]


# ------------------------------------------------------------------------------------------------------------- kge


def store(folder: Path, change: Callable[[h5py.File], None]) -> list[str]:
    """The overrides for a store that is changed through h5py."""
    shutil.copy(folder / "kge.h5", folder / "bad.h5")
    with h5py.File(folder / "bad.h5", "r+") as file:
        change(file)
    return [f"kge.path={folder}/bad.h5"]


def replaced(file: h5py.File, **options: Any) -> None:
    """The vectors as another kind of dataset."""
    vectors = file["vectors"][:]
    del file["vectors"]
    file.create_dataset("vectors", data=None if options.get("external") else vectors, **options)


@bad(
    "kge",
    r"{}/nope\.h5: no such file; a KGE store is made by 'stonkgs kge build', or .* 'stonkgs kge train'",
)
def no_store(folder: Path) -> list[str]:
    return [f"kge.path={folder}/nope.h5"]


@bad(
    "kge",
    r"{}/rows\.tsv: not an HDF5 file; a KGE store is made by 'stonkgs kge build', or .* 'stonkgs kge train'",
)
def no_hdf5(folder: Path) -> list[str]:
    return [f"kge.path={folder}/rows.tsv"]


@bad("kge", r"{}/bad\.h5: dataset 'vectors' is chunked; .*h5repack -l CONTI -f NONE {}/bad\.h5 new\.h5")
def a_chunked_store(folder: Path) -> list[str]:
    return store(folder, lambda file: replaced(file, chunks=True))


@bad("kge", r"{}/bad\.h5: dataset 'vectors' is compressed; .*h5repack")
def a_compressed_store(folder: Path) -> list[str]:
    return store(folder, lambda file: replaced(file, compression="gzip"))


@bad("kge", r"{}/bad\.h5: dataset 'vectors' keeps its data in external files; .*h5repack")
def external_storage(folder: Path) -> list[str]:
    def outside(file: h5py.File) -> None:
        shape = file["vectors"].shape
        replaced(file, shape=shape, dtype="<f4", external=[("/etc/passwd", 0, 4 * shape[0] * shape[1])])

    return store(folder, outside)


@bad("kge", r"{}/bad\.h5: dataset 'vectors' is virtual, its data are in other datasets; .*h5repack")
def a_virtual_store(folder: Path) -> list[str]:
    def virtual(file: h5py.File) -> None:
        shape = file["vectors"].shape
        layout = h5py.VirtualLayout(shape=shape, dtype="<f4")
        layout[:] = h5py.VirtualSource(str(folder / "kge.h5"), "vectors", shape=shape)
        del file["vectors"]
        file.create_virtual_dataset("vectors", layout)

    return store(folder, virtual)


@bad("kge", r"{}/bad\.h5: 'vectors' is a link to another place, and links are not followed")
def a_linked_store(folder: Path) -> list[str]:
    def link(file: h5py.File) -> None:
        del file["vectors"]
        file["vectors"] = h5py.ExternalLink(str(folder / "kge.h5"), "vectors")

    return store(folder, link)


@bad("kge", r"{}/bad\.h5: .*(never written|should have \d+ bytes|damaged)")
def a_huge_declared_shape(folder: Path) -> list[str]:
    def huge(file: h5py.File) -> None:
        del file["vectors"]
        file.create_dataset("vectors", shape=(2**40, 16), dtype="<f4")

    return store(folder, huge)


@bad("kge", r"{}/bad\.h5: the KGE store is damaged: .*; copy it again, or make it anew")
def a_store_cut_off(folder: Path) -> list[str]:
    data = (folder / "kge.h5").read_bytes()
    (folder / "bad.h5").write_bytes(data[: len(data) // 2])
    return [f"kge.path={folder}/bad.h5"]


@bad("kge", r"{}/other\.h5: vectors of dimension 8, but the model reads 16: this is another model's store")
def a_store_of_another_model(folder: Path) -> list[str]:
    from synthetic import write_store

    return [f"kge.path={write_store(folder / 'other.h5', nodes=20, dimension=8, walk_length=5)}"]


@bad("kge", r"the model gives values that are not numbers: its weights, or the vectors of {}/bad\.h5, are damaged")
def vectors_that_are_no_numbers(folder: Path) -> list[str]:
    return store(folder, lambda file: file["vectors"].write_direct(np.full(file["vectors"].shape, np.nan, np.float32)))


@bad("kge", r"kge\.match=fuzzy: ")
def a_match_that_there_is_not(folder: Path) -> list[str]:
    return ["kge.match=fuzzy"]


# ----------------------------------------------------------------------------------------------------------- model


def model(folder: Path, **config: Any) -> Path:
    """A copy of the model whose config.json is changed."""
    shutil.copytree(folder / "model", folder / "bad")
    values = json.loads((folder / "bad" / "config.json").read_text())
    (folder / "bad" / "config.json").write_text(json.dumps(values | config))
    return folder / "bad"


def weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> list[str]:
    """The overrides for a model with other weights."""
    path = model(folder) / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    change(tensors)
    safetensors.torch.save_file(tensors, path)
    return [f"model.path={path.parent}"]


@bad("model", r"{}/nope: no such folder; a model is a folder with config\.json and its weights")
def no_model(folder: Path) -> list[str]:
    return [f"model.path={folder}/nope"]


@bad("model", r"{}/bad/config\.json: not readable as JSON: ")
def a_config_that_is_no_json(folder: Path) -> list[str]:
    (model(folder) / "config.json").write_text("{")
    return [f"model.path={folder}/bad"]


class Payload:
    """Runs code when it is unpickled, if anybody lets it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder / "hacked"),)


@bad("model", r"{}/bad/pytorch_model\.bin: not readable as weights alone: ")
def a_pickle_with_code_in_it(folder: Path) -> list[str]:
    (model(folder) / "model.safetensors").unlink()
    torch.save({"weight": Payload(folder)}, folder / "bad" / "pytorch_model.bin")
    return [f"model.path={folder}/bad"]


@bad("model", r"{}/bad: the weights lack classifier\.bias")
def a_checkpoint_that_lacks_keys(folder: Path) -> list[str]:
    return weights(folder, lambda tensors: tensors.pop("classifier.bias"))


@bad("model", r"{}/bad: classifier\.bias is \(7,\); by config\.json it should be \(2,\)")
def weights_of_wrong_shapes(folder: Path) -> list[str]:
    return weights(folder, lambda tensors: tensors.update({"classifier.bias": torch.zeros(7)}))


@bad("model", r"{}/bad/model\.safetensors: not readable as weights alone: ")
def weights_cut_off(folder: Path) -> list[str]:
    path = model(folder) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    return [f"model.path={path.parent}"]


@bad("model", r"{}/bad/tokenizer\.json: \d+ entries, but the model's text backbone has \d+: this is another model's")
def a_tokenizer_of_another_vocabulary(folder: Path) -> list[str]:
    path = model(folder) / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"].popitem()
    path.write_text(json.dumps(tokenizer))
    return [f"model.path={path.parent}"]


def tokenizer(folder: Path, **parts: Any) -> list[str]:
    """The overrides for a model whose tokenizer.json is changed."""
    path = model(folder) / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))
    return [f"model.path={path.parent}"]


@bad("model", r"{}/bad/tokenizer\.json: not the tokenizer of a BERT: its pre_tokenizer is 'Split', .*; fetch the")
def a_tokenizer_that_panics(folder: Path) -> list[str]:
    pattern = {"Regex": r"(\w+\w+)+!"}  # too much for the library's regular expressions
    return tokenizer(folder, pre_tokenizer={"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": 0})


@bad("model", r"{}/bad/tokenizer\.json: not the tokenizer of a BERT: its normalizer is 'Replace', .*; fetch the")
def a_tokenizer_that_never_ends(folder: Path) -> list[str]:
    doubling = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    return tokenizer(folder, normalizer={"type": "Sequence", "normalizers": [doubling] * 40})


@bad("model", r"{}/bad/config\.json: text_length is -1; it must be a whole number of 2 or more")
def a_config_of_nonsense(folder: Path) -> list[str]:
    return [f"model.path={model(folder, text_length=-1)}"]


@bad(
    "model", r"model\._target_=stonkgs\.train\.tfidf\.TfIdf: is for training alone .* model=stonkgs model\.path=FOLDER"
)
def a_baseline_that_is_only_trained(folder: Path) -> list[str]:
    return ["model=tfidf"]


@bad("model", r"model\._target_=stonkgs\.model\.fresh\.Fresh: is for training alone")
def a_model_without_weights(folder: Path) -> list[str]:
    return ["model=fresh"]


@bad("model", r"model\._target_=stonkgs\.model\.network\.TextOnly\.part_of: is for training alone")
def a_part_of_a_model(folder: Path) -> list[str]:
    return ["model=text_only", f"model.path={folder}/model"]


@bad("model", r"{}/nope: no such folder; a published checkpoint comes without its vocabulary: .* as model\.tokenizer=")
def no_folder_of_a_vocabulary(folder: Path) -> list[str]:
    values = json.loads((folder / "model" / "config.json").read_text())
    names = {"architectures": ["STonKGsForSequenceClassification"], "model_type": "big_bird"}
    (model(folder) / "config.json").write_text(json.dumps(values["bert"] | {"id2label": values["id2label"]} | names))
    return [f"model.path={folder}/bad", f"model.tokenizer={folder}/nope"]


@bad("model", r"model\.labels names 3 classes; {}/model has 2")
def too_many_labels(folder: Path) -> list[str]:
    return ["model.labels=[a,b,c]"]


# -------------------------------------------------------------------------------------------------------- settings


@bad("settings", r"there is no key 'batch\.sise'; did you mean batch\.size\?")
def a_misspelt_override(folder: Path) -> list[str]:
    return ["batch.sise=1"]


@bad("settings", r"Could not find 'source/sql' Available options in 'source': bel csv example indra jsonl parquet tsv")
def a_source_that_there_is_not(folder: Path) -> list[str]:
    return ["source=sql"]


@bad("settings", r"batch\.size=many: must be a whole number of 1 or more")
def a_count_that_is_none(folder: Path) -> list[str]:
    return ["batch.size=many"]


@bad("settings", r"source\.max_record=1000000000000: must be a whole number of 1 or more, at most 2,147,483,647")
def a_record_of_a_terabyte(folder: Path) -> list[str]:
    return ["source.max_record=1000000000000"]


@bad("settings", r"batch\.size=1000000000000: must be a whole number of 1 or more, at most 2,147,483,647")
def a_batch_of_all(folder: Path) -> list[str]:
    return ["batch.size=1000000000000"]


@bad(
    "settings",
    r"source\.limit=1" + "0" * 30 + r": must be a whole number of 1 or more, at most 9,223,372,036,854,775,807",
)
def a_limit_beyond_all(folder: Path) -> list[str]:
    return ["source.limit=1" + "0" * 30]


@bad("settings", r"_target_ os\.system: a config may build sources, .*trust=\[os\.system\]")
def a_target_of_os_system(folder: Path) -> list[str]:
    return ["source._target_=os.system"]


@bad("settings", r"_target_ torch\.hub\.load: a config may build")
def a_target_of_torch_hub(folder: Path) -> list[str]:
    return ["model._target_=torch.hub.load"]


@bad("settings", r"_target_ torch\.utils\.cpp_extension\.load_inline: a config may build")
def a_target_that_compiles(folder: Path) -> list[str]:
    return ["+trainer.plugins=[{_target_:torch.utils.cpp_extension.load_inline}]"]


@bad("settings", r"kge\.path= is empty; name a file")
def a_path_to_nothing(folder: Path) -> list[str]:
    return ["kge.path="]


# ---------------------------------------------------------------------------------------------------------- writer


@bad("writer", r"{}/rows\.tsv/out: cannot be made: Not a directory")
def a_folder_that_cannot_be(folder: Path) -> list[str]:
    return [f"output_dir={folder}/rows.tsv/out"]


@bad("writer", r"/proc/stonkgs: cannot be made: No such file or directory")
def a_folder_that_nobody_may_write(folder: Path) -> list[str]:
    return ["output_dir=/proc/stonkgs"]


@bad("writer", r"the input has columns \['correct'\], which are output columns too: set writer\.prefix=")
def columns_that_would_be_hidden(folder: Path) -> list[str]:
    return rows(folder, "source\ttarget\tevidence\tcorrect\n")


@bad("writer", r"writer\.columns: the input has no column 'pmid'; there are \['source', 'target', 'evidence'\]")
def a_column_that_there_is_not(folder: Path) -> list[str]:
    return ["writer.columns=[source,pmid]"]


@bad("writer", r"{}/x{300}: cannot be used: File name too long; name a shorter path; choose another output_dir=")
def a_folder_of_a_long_name(folder: Path) -> list[str]:
    return [f"output_dir={folder}/{'x' * 300}"]


@bad("writer", r"{}/rows\.tsv: is a file; output_dir= names a folder, choose another one")
def a_folder_that_is_a_file(folder: Path) -> list[str]:
    return [f"output_dir={folder}/rows.tsv"]


@bad("writer", r"/dev/null: is a file; output_dir= names a folder, choose another one")
def a_folder_that_is_a_device(folder: Path) -> list[str]:
    return ["output_dir=/dev/null"]


@bad("writer", r"{}/loop/out: cannot be used: Too many levels of symbolic links; its links lead in a circle; .*")
def a_folder_behind_a_circle(folder: Path) -> list[str]:
    (folder / "loop").symlink_to(folder / "loop")
    return [f"output_dir={folder}/loop/out"]


def left(folder: Path, *names: str) -> list[str]:
    """The overrides for a good run, into a folder that holds somebody else's files."""
    (folder / "out").mkdir()
    for name in names:
        (folder / "out" / name).write_text("precious")
    return []


@bad("writer", r"{}/out: holds _SUCCESS, which no run wrote; choose another output_dir=")
def somebody_elses_success(folder: Path) -> list[str]:
    return left(folder, "_SUCCESS", "part-00000.gz")


@bad("writer", r"{}/out: holds _SUCCESS, predictions\.tsv, which no run wrote; choose another output_dir=")
def somebody_elses_success_to_be_overwritten(folder: Path) -> list[str]:
    return [*left(folder, "_SUCCESS", "predictions.tsv"), "overwrite=true"]


@bad("writer", r"{}/out: holds _SUCCESS, which no run wrote; choose another output_dir=")
def a_success_that_is_a_link_to_nothing(folder: Path) -> list[str]:
    left(folder)
    (folder / "out" / "_SUCCESS").symlink_to(folder / "nothing")
    return []


@bad("writer", r"{}/out: holds predictions\.tsv, which no run wrote; choose another output_dir=")
def somebody_elses_results(folder: Path) -> list[str]:
    return left(folder, "predictions.tsv")


# ----------------------------------------------------------------------------------------------------- the tests


@pytest.fixture
def folder(tmp_path: Path, model_path: Path, kge_path: Path) -> Path:
    """A folder with good files."""
    (tmp_path / "rows.tsv").write_text(GOOD)
    shutil.copytree(model_path, tmp_path / "model")
    shutil.copy(kge_path, tmp_path / "kge.h5")
    return tmp_path


def arguments(folder: Path, overrides: list[str]) -> list[str]:
    """A good run's, with overrides."""
    given = {"source.path": "rows.tsv", "model.path": "model", "kge.path": "kge.h5", "output_dir": "out"}
    changed = {override.split("=")[0] for override in overrides}
    changed |= {"model.path"} if {"model=tfidf", "model=fresh"} & set(overrides) else set()
    return [*(f"{key}={folder / name}" for key, name in given.items() if key not in changed), *overrides]


def check(case: Case, folder: Path, status: int, error: str) -> None:
    """One line as the table has it, a status, and no results."""
    assert status == 1
    assert error.count("\n") == 1, error
    assert re.match("error: " + case.line.replace("{}", re.escape(str(folder))), error), error
    assert "unexpected" not in error
    results = [path for path in folder.rglob("predictions*") if path.read_bytes() != b"precious"]
    assert not results
    assert not [path for path in folder.rglob("_SUCCESS") if path.exists() and path.read_bytes() != b"precious"]
    assert not (folder / "hacked").exists(), "code in a file was run"


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.setattr("stonkgs.source.file.ALLOWANCE", 16 << 20)  # a bomb of less than what it is in earnest
    status = main(["predict", *arguments(folder, case.spoil(folder))])
    check(case, folder, status, capsys.readouterr().err)


def test_the_table_is_a_table() -> None:
    assert len(CASES) >= 30
    assert {case.stage for case in CASES.values()} == {"source", "kge", "model", "settings", "writer"}


@pytest.mark.process
@pytest.mark.parametrize(
    "name",
    [
        "a_pickle_with_code_in_it",
        *(
            pytest.param(name, marks=pytest.mark.deep)
            for name in ("a_truncated_gzip", "external_storage", "a_target_of_os_system", "somebody_elses_results")
        ),
    ],
)
def test_one_clear_line_of_a_whole_process(name: str, folder: Path) -> None:
    case = CASES[name]
    done = subprocess.run(
        [sys.executable, "-m", "stonkgs", "predict", *arguments(folder, case.spoil(folder))],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    check(case, folder, done.returncode, done.stderr)


#: Rows that are at fault, in a file of good ones: (name of the file, the bad record, the reason that is given).
ROWS: dict[str, tuple[str, bytes, str]] = {
    "invalid UTF-8": ("bad.tsv", b"a\tb\tcaf\xe9\n", "not UTF-8: byte 8 of the record is 0xe9"),
    "a line of 100 MB": ("bad.tsv", b"a\tb\t" + b"x" * 100_000_000 + b"\n", "record of over 1048576 bytes"),
    "too few fields": ("bad.tsv", b"a\tb\n", "2 fields, the header has 3"),
    "a lone quote": ("bad.tsv", b'a\tb\t"c\n', "a quoted field does not end at a tab or a line's end within"),
    "JSON nested 100,000 deep": ("bad.jsonl", b"[" * 100_000 + b"]" * 100_000 + b"\n", "nested more than 200 deep"),
    "JSON that is none": ("bad.jsonl", b'{"source": "a",}\n', "invalid JSON: "),
    "a null": ("bad.jsonl", b'{"source": null, "target": "b", "evidence": "c"}\n', "'source' is null"),
    "NaN": ("bad.jsonl", b'{"source": "a", "target": "b", "evidence": "c", "x": NaN}\n', "NaN is no JSON value"),
    "too few in csv": ("bad.csv", b"a,b\n", "2 fields, the header has 3"),
}


def encoded(kind: str) -> tuple[bytes, bytes]:
    """The header and a good row of a format."""
    if kind == "jsonl":
        return b"", b'{"source": "NA", "target": "NA", "evidence": "x"}\n'
    return (HEADER.encode(), ROW.encode()) if kind == "tsv" else (b"source,target,evidence\n", b"NA,NA,x\n")


@pytest.mark.parametrize("name", ROWS)
def test_a_row_at_fault_is_rejected_and_the_rest_predicted(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, record, reason = ROWS[name]
    header, good = encoded(file.split(".")[1])
    content = header + 3 * good + record + 3 * good
    assert main(["predict", *arguments(folder, [*rows(folder, content, file), "writer=parquet"])]) == 0
    assert capsys.readouterr().err == ""
    (rejected,) = map(json.loads, (folder / "out" / "rejected.jsonl").read_text("utf-8").splitlines())
    assert rejected["reason"].startswith(reason)
    assert rejected["offset"] == len(header) + 3 * len(good)
    assert rejected["line"] == 4 + bool(header)
    assert pq.read_metadata(folder / "out" / "predictions.parquet").num_rows == 6


def test_nul_bytes_are_characters(folder: Path) -> None:
    """A NUL in a row is text as any other: what matters is that nothing ends at it."""
    content = HEADER.encode() + 3 * ROW.encode() + b"a\tb\tc\0d\n" + ROW.encode()
    assert main(["predict", *arguments(folder, [*rows(folder, content), "writer=jsonl"])]) == 0
    evidence = [json.loads(line)["evidence"] for line in (folder / "out" / "predictions.jsonl").open()]
    assert evidence[3] == "c\0d"
    assert len(evidence) == 5


@pytest.mark.parametrize("writer", ["tsv", "jsonl", "parquet"])
def test_a_full_disk(writer: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = rows(folder, HEADER + "".join(f"NA\tNA\t{os.urandom(50).hex()}\n" for _ in range(2000)))
    with file_size_limit(60_000):
        status = main(["predict", *arguments(folder, [*long, f"writer={writer}", "split.rows=2048"])])
    error = capsys.readouterr().err
    assert status == 1
    assert re.fullmatch(rf"error: {folder}/out/.*: cannot be written: File too large\n", error), error
    assert not list(folder.rglob("predictions.*"))
    # The same command again, with room, gives the result.
    assert main(["predict", *arguments(folder, [*long, f"writer={writer}"])]) == 0
    assert (folder / "out" / "_SUCCESS").exists()


def test_a_full_device(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A disk of 256 kB, where this process may make one."""
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("only root may make a small disk")
    try:
        long = rows(folder, HEADER + "".join(f"NA\tNA\t{os.urandom(100).hex()}\n" for _ in range(2000)))
        status = main(["predict", *arguments(folder, [*long, f"output_dir={small}/out"])])
        error = capsys.readouterr().err
        assert status == 1
        assert re.fullmatch(rf"error: {small}/out/.*: cannot be written: No space left on device\n", error), error
        assert not list(small.rglob("predictions.*"))
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.process
def test_too_small_a_shared_memory(folder: Path) -> None:
    """Workers with /dev/shm full, as in a container that was given little of it."""
    command = [sys.executable, "-m", "stonkgs", "predict", *arguments(folder, ["num_workers=2"])]
    script = 'mount -t tmpfs -o size=4k tmpfs /dev/shm && head -c 4096 /dev/zero > /dev/shm/full; exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", *command], capture_output=True, text=True, check=False, cwd=ROOT
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("only root may give a process another /dev/shm")
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert re.fullmatch(r"error: .*/dev/shm.*num_workers=0.*\n", done.stderr), done.stderr
    else:
        assert (folder / "out" / "_SUCCESS").exists()
