"""The addresses of the published files, and the order of their classes, which the files do not tell."""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Place:
    """Files that lie together on the network."""

    site: Literal["zenodo", "huggingface"]
    #: the number of a record, or the name of a repository
    name: str
    files: tuple[str, ...]
    #: the name of their folder in the cache
    folder: str

    @property
    def page(self) -> str:
        """The web page for people."""
        records = self.site == "zenodo"
        return f"https://zenodo.org/records/{self.name}" if records else f"https://huggingface.co/{self.name}"


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint of the first implementation."""

    place: Place
    #: in the order of the logits; None for one that is only pre-trained
    labels: tuple[str, ...] | None


VECTORS: Final = "embeddings_best_model.tsv"
WALKS: Final = "random_walks_best_model.tsv"
#: The graph that all checkpoints were trained with.
GRAPH: Final = Place("zenodo", "5205687", (VECTORS, WALKS), "zenodo-5205687")

VOCABULARY: Final = Place("huggingface", "dmis-lab/biobert-v1.1", ("vocab.txt",), "biobert-v1.1")
#: Lines of its vocab.txt.
ENTRIES: Final = 28_996
#: The text backbone, for a checkpoint that lacks its weights. Its folder is its own: a config.json beside the other
#: vocabulary would be read for every checkpoint, and digests would depend on what was fetched before.
BACKBONE: Final = Place(
    "huggingface", "dmis-lab/biobert-v1.1", ("config.json", "pytorch_model.bin", "vocab.txt"), "biobert-v1.1-weights"
)

_CHECKPOINT: Final = ("config.json", "pytorch_model.bin")


def _tuned(record: str, *labels: str) -> Published:
    return Published(Place("zenodo", record, _CHECKPOINT, f"zenodo-{record}"), labels)


def _trained(name: str) -> Published:
    return Published(Place("huggingface", f"stonkgs/{name}", _CHECKPOINT, name), None)


#: All checkpoints, by the names in `configs/model`.
MODELS: Final = {
    "species": _tuned("5205530", "mouse", "rat", "human"),
    "location": _tuned(
        "5205553", "extracellular_space", "cell_membrane", "cell_nucleus", "extracellular_matrix", "cytoplasm"
    ),
    "disease": _tuned(
        "5205592", "neuroblastoma", "multiple_myeloma", "lung_non-small_cell_carcinomaleukemia", "breast_cancer",
        "lung_cancer", "atherosclerosis", "osteosarcoma", "melanoma", "leukemia", "colon_cancer",
    ),
    "correct_multiclass": _tuned(
        "5206139", "act_vs_amt", "grounding", "hypothesis", "entity_boundaries", "no_relation", "correct",
        "wrong_relation", "polarity",
    ),
    "correct_binary": _tuned("5205989", "incorrect", "correct"),
    "cell_line": _tuned(
        "5205915", "HeLa", "THP-1", "LNCAP", "COS-1", "DMS_114", "NIH-3T3", "HEK293", "MCF7", "Hep_G2", "U-937"
    ),
    "stonkgs-150k": _trained("stonkgs-150k"),
    "stonkgs-300k": _trained("stonkgs-300k"),
}  # fmt: skip
