"""Writes a pre-trained model as a checkpoint of the first implementation, which that one can load."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import torch

from stonkgs.disk import make_folder, publish
from stonkgs.encode.text import uncased
from stonkgs.errors import UserError
from stonkgs.kge.shift import MASK, PUBLISHED_NUMBERS, SEPARATOR, UNKNOWN
from stonkgs.model.config import ModelConfig
from stonkgs.model.network import STonKGs
from stonkgs.model.pretraining import PREFIX, read_heads
from stonkgs.model.weights import Weights

#: The folder beside the checkpoint with what the first implementation reads from its text backbone's own one.
BACKBONE: Final = "lm_backbone"
#: The token numbers of [UNK], [SEP] and [MASK] that the first implementation has.
PUBLISHED: Final = tuple(PUBLISHED_NUMBERS[code] for code in (UNKNOWN, SEPARATOR, MASK))


def export(*, model: str, output: str) -> str:
    """Write the pre-trained model in the folder `model` as a checkpoint to the new folder `output`. Returns that.

    The vocabulary and the configuration of the text backbone go to its folder `lm_backbone`. Raises UserError if the
    model does not compute as the first implementation does, or has no heads.
    """
    if Path(output).exists():
        raise UserError(f"{output}: exists; name another output")
    network = STonKGs.from_pretrained(model)
    heads = read_heads(Path(model))
    if not isinstance(network, STonKGs) or network.config.labels or not heads:
        raise UserError(f"{model}: not a model that was only pre-trained; experiment=pretrain makes one")
    _check(network.config, model)
    _check_text(network, model)
    staging = Path(f"{output}.tmp-export")
    shutil.rmtree(staging, ignore_errors=True)
    make_folder(staging / BACKBONE)
    config = network.config
    names = {"architectures": ["STonKGsForPreTraining"], "model_type": "bert", "kg_vocab_size": config.kge_nodes}
    _write_json(staging / "config.json", {**config.bert, "vocab_size": config.lm_backbone["vocab_size"], **names})
    _write_json(staging / BACKBONE / "config.json", {**config.lm_backbone, "model_type": "bert"})
    entries = sorted(network.text.tokenizer.get_vocab().items(), key=lambda item: item[1])
    with publish(staging / BACKBONE / "vocab.txt") as file:
        file.writelines(f"{entry}\n".encode() for entry, _ in entries)
    with publish(staging / "pytorch_model.bin") as file:
        torch.save(published_weights(network, heads), file)
    staging.rename(output)
    return output


def published_weights(network: STonKGs, heads: Weights) -> Weights:
    """Returns the weights by the names of a published checkpoint, which has some under two names.

    What nothing reads, the words of the joint BERT with their decoder, are zeros.
    """
    config = network.config
    entries, width = config.lm_backbone["vocab_size"], config.dimension
    bias, words = torch.zeros(entries), torch.zeros(entries, width)
    predictions = f"{PREFIX}predictions."
    aliases = {name: heads[predictions + name] for name in ("text_bias", "entity_bias")} | {"bias": bias}
    return {
        **network.state_dict(),
        **heads,
        "bert.embeddings.word_embeddings.weight": words,
        f"{predictions}decoder.weight": words,
        f"{predictions}bias": bias,
        **{f"{predictions}decoder.{name}": weight for name, weight in aliases.items()},
    }


def _check(config: ModelConfig, model: str) -> None:
    """Raises UserError if the first implementation would compute something else."""
    longest = config.lm_backbone["max_position_embeddings"] // 2, config.bert["max_position_embeddings"]
    lengths = config.text_length, config.text_length + config.graph_length
    if not (config.legacy_text_padding and config.legacy_node_shift) or longest != lengths:
        raise UserError(
            f"{model}: does not compute as the first implementation does: pre-train with task.objective=published, "
            "on texts of half the positions of the text backbone, and of the joint BERT"
        )


def _check_text(network: STonKGs, model: str) -> None:
    """Raises UserError if the first implementation would read a text by other tokens, or other vectors as special."""
    if network.config.special_tokens != PUBLISHED:
        raise UserError(
            f"{model}: its [UNK], [SEP], [MASK] are the tokens {network.config.special_tokens}; the first "
            f"implementation has {PUBLISHED}: pre-train with a text backbone such as BERT's"
        )
    if _cut(network.text.tokenizer.normalizer, network.text.tokenizer.pre_tokenizer) != _cut(*uncased()):
        raise UserError(
            f"{model}: its tokenizer.json cuts texts otherwise than the first implementation does, which lower-cases "
            "them: pre-train with a text backbone that has a vocab.txt alone"
        )


def _cut(normalizer: Any, pre_tokenizer: Any) -> list[dict[str, Any]]:
    """Returns the steps by which a tokenizer cuts a text into words, as JSON values."""
    steps = [json.loads(step.__getstate__()) if step else {} for step in (normalizer, pre_tokenizer)]
    if steps[0].get("strip_accents", 0) is None:  # null is as lowercase is
        steps[0]["strip_accents"] = steps[0].get("lowercase")
    return steps


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with publish(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")
