"""Models, stores and statements of any size, for benchmarks and tests: random, and quick to make."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stonkgs.encode.text import TextEncoder
from stonkgs.kge.create import Draft
from stonkgs.model.config import ModelConfig
from stonkgs.model.network import STonKGs

#: What the small tokenizers know: special tokens, then every printable character at a word's start and inside it.
CHARACTERS = [chr(code) for code in range(33, 127)]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *[f"##{c}" for c in CHARACTERS]]


def node_name(number: int) -> str:
    """The name of a node of a synthetic store."""
    return f"p(HGNC:{number} ! NODE{number})"


def write_store(path: Path, *, nodes: int, dimension: int, walk_length: int, half: bool = False) -> Path:
    """A store of random vectors and walks, through the builder's own layout."""
    generator = np.random.default_rng(0)
    names = [node_name(node).encode() for node in range(nodes)]
    length = sum(map(len, names))
    sizes = {"nodes": nodes, "dimension": dimension, "walk_length": walk_length, "name_bytes": length}
    draft = Draft(path=str(path), **sizes, half=half)
    arrays = draft.arrays
    for start in range(0, nodes, 4096):
        part = arrays["vectors"][start : start + 4096]
        part[:] = generator.standard_normal(part.shape, np.float32)
        walks = arrays["walks"][start : start + 4096]
        walks[:] = generator.integers(0, nodes, walks.shape, np.int32)
    arrays["names"][:] = np.frombuffer(b"".join(names), np.uint8)
    arrays["name_offsets"][:] = np.cumsum([0, *map(len, names)])
    draft.index()
    draft.seal("{}")
    return path


def write_model(
    folder: Path, *, hidden: int, layers: int, text_length: int, walk_length: int, legacy: bool = False, **bert: Any
) -> Path:
    """A model folder with random weights and two classes, `incorrect` and `correct`.

    The weights are larger than a fresh BERT's, which would rate all rows alike.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": max(2, hidden // 64)}
    sizes |= {"intermediate_size": 4 * hidden, "vocab_size": len(VOCABULARY), "type_vocab_size": 2}
    sizes |= {"max_position_embeddings": max(2 * text_length, text_length + 2 * walk_length + 2)} | bert
    torch.manual_seed(0)
    config = ModelConfig(
        lm_backbone=sizes,
        bert=sizes,
        labels=("incorrect", "correct"),
        text_length=text_length,
        walk_length=walk_length,
        special_tokens=(1, 3, 4),
        legacy_text_padding=legacy,
        legacy_node_shift=legacy,
    )
    network = STonKGs(config, TextEncoder(path=str(vocabulary), length=text_length))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3 if hidden < 64 else 0.05)
    network.save_pretrained(folder)
    vocabulary.unlink()
    return folder


def as_published(model: Path, folder: Path, *, nodes: int) -> Path:
    """A model folder as the first implementation would have left it: one config, one torch file, no vocabulary.

    Beside it, in `vocabulary`, what comes with its text backbone.
    """
    network = STonKGs.from_pretrained(str(model))
    config = network.config
    weights = dict(network.state_dict())
    weights["bert.embeddings.word_embeddings.weight"] = torch.zeros(3, config.dimension)
    weights["bert.embeddings.position_ids"] = torch.arange(config.bert["max_position_embeddings"])[None]
    weights["cls.predictions.bias"] = torch.zeros(3)
    values = dict(config.bert) | {
        "architectures": ["STonKGsForSequenceClassification"],
        "model_type": "bert",
        "kg_vocab_size": nodes,
        "id2label": {str(number): f"LABEL_{number}" for number in range(len(config.labels))},
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(values))
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "training_args.bin").write_bytes(b"never read")
    (folder.parent / "vocabulary").mkdir(exist_ok=True)
    (folder.parent / "vocabulary" / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", "utf-8")
    return folder


def write_statements(path: Path, *, rows: int, nodes: int, words: int = 25) -> Path:
    """A TSV of statements with random sentences of about `words` short words, and a column `id`."""
    generator = random.Random(0)
    with open(path, "w", encoding="utf-8") as file:
        file.write("id\tsource\ttarget\tevidence\n")
        for row in range(rows):
            source, target = (node_name(generator.randrange(nodes)) for _ in range(2))
            count = generator.randint(1, 2 * words)
            evidence = " ".join(generator.choices(("we", "found", "p53", "acts", "on", "a", "cell", "x"), k=count))
            file.write(f"{row}\t{source}\t{target}\t{evidence}\n")
    return path
