"""Lists the published files with their addresses, and the order of each model's classes, which no file states."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Deposit:
    """Files that are published together: a Zenodo record, or a part of a Hugging Face repository."""

    site: Literal["zenodo", "huggingface"]
    #: the record's number, or the repository's name
    name: str
    files: tuple[str, ...]
    #: the name of the files' folder in the cache
    folder: str

    @property
    def page(self) -> str:
        """The address of the web page."""
        records = self.site == "zenodo"
        return f"https://zenodo.org/records/{self.name}" if records else f"https://huggingface.co/{self.name}"


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """A checkpoint of the first implementation."""

    deposit: Deposit
    #: class names in the order of the logits; None for a checkpoint that is only pre-trained
    labels: tuple[str, ...] | None


VECTORS: Final = "embeddings_best_model.tsv"
WALKS: Final = "random_walks_best_model.tsv"
#: The graph that all checkpoints were trained with.
GRAPH: Final = Deposit("zenodo", "5205687", (VECTORS, WALKS), "zenodo-5205687")

VOCABULARY: Final = Deposit("huggingface", "dmis-lab/biobert-v1.1", ("vocab.txt",), "biobert-v1.1")
#: Number of lines in its vocab.txt.
ENTRIES: Final = 28_996
#: The text backbone, for checkpoints that lack its weights. It has a folder apart from VOCABULARY: a config.json
#: there would be read for every checkpoint, and digests would depend on what was fetched before.
BACKBONE: Final = Deposit(
    "huggingface", "dmis-lab/biobert-v1.1", ("config.json", "pytorch_model.bin", "vocab.txt"), "biobert-v1.1-weights"
)

_CHECKPOINT: Final = ("config.json", "pytorch_model.bin")


def _fine_tuned(record: str, *labels: str) -> PublishedModel:
    return PublishedModel(Deposit("zenodo", record, _CHECKPOINT, f"zenodo-{record}"), labels)


def _pre_trained(name: str) -> PublishedModel:
    return PublishedModel(Deposit("huggingface", f"stonkgs/{name}", _CHECKPOINT, name), None)


#: All checkpoints by name, as in `configs/model`.
MODELS: Final = {
    "species": _fine_tuned("5205530", "mouse", "rat", "human"),
    "location": _fine_tuned(
        "5205553", "extracellular_space", "cell_membrane", "cell_nucleus", "extracellular_matrix", "cytoplasm"
    ),
    "disease": _fine_tuned(
        "5205592", "neuroblastoma", "multiple_myeloma", "lung_non-small_cell_carcinomaleukemia", "breast_cancer",
        "lung_cancer", "atherosclerosis", "osteosarcoma", "melanoma", "leukemia", "colon_cancer",
    ),
    "correct_multiclass": _fine_tuned(
        "5206139", "act_vs_amt", "grounding", "hypothesis", "entity_boundaries", "no_relation", "correct",
        "wrong_relation", "polarity",
    ),
    "correct_binary": _fine_tuned("5205989", "incorrect", "correct"),
    "cell_line": _fine_tuned(
        "5205915", "HeLa", "THP-1", "LNCAP", "COS-1", "DMS_114", "NIH-3T3", "HEK293", "MCF7", "Hep_G2", "U-937"
    ),
    "stonkgs-150k": _pre_trained("stonkgs-150k"),
    "stonkgs-300k": _pre_trained("stonkgs-300k"),
}  # fmt: skip
