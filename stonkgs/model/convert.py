"""Converts a published checkpoint to a model folder, which then needs no separate vocabulary and no labels."""

from pathlib import Path
from typing import NamedTuple

from stonkgs.errors import UserError, printable
from stonkgs.kge.store import KgeStore
from stonkgs.model.checkpoint import FILES, HEADS
from stonkgs.model.config import is_ours, read_json
from stonkgs.model.digest import model_digest
from stonkgs.model.network import Network
from stonkgs.model.predictor import Predictor
from stonkgs.model.pretraining import read_heads


class ConversionSummary(NamedTuple):
    """Describes the model folder that was written."""

    output: str
    labels: tuple[str, ...]
    parameters: int
    size: int
    """Bytes of the folder's files."""
    digest: str
    """The digest that a run with this model records."""
    store: KgeStore | None
    """The store that was recorded in the folder, if any."""

    def __str__(self) -> str:
        labels = ", ".join(self.labels) or "none, pre-trained only"
        labels += " (--labels gives them names)" if "LABEL_0" in self.labels else ""
        store = "not recorded (--kge does, and other stores are then refused)"
        if self.store:
            store = f"{self.store.path}, {self.store.nodes:,} nodes, digest {self.store.digest}"
        size = f"{self.parameters:,} parameters, {self.size / 1e6:,.1f} MB, digest {self.digest}"
        return "\n".join(map(printable, (f"{self.output}: {size}", f"labels: {labels}", f"store: {store}")))


def convert(
    *,
    published: str,
    output: str,
    tokenizer: str | None = None,
    labels: list[str] | None = None,
    kge: str | None = None,
    overwrite: bool = False,
) -> ConversionSummary:
    """Write the checkpoint in the folder `published` as a model folder. Its logits stay the same.

    One that is only pre-trained keeps its heads, so that a pre-training can go on from it.
    `tokenizer` and `labels` as for `Network.from_pretrained`. The store `kge` is recorded as the one that the model was
    trained with. Raises UserError, and changes nothing, if something does not fit or the output may not be replaced.
    """
    if is_ours(read_json(Path(published) / "config.json")):
        raise UserError(f"{published}: a model folder of ours already; it needs no converting")
    _check_output(Path(output), overwrite=overwrite)
    model = Network.from_pretrained(published, tokenizer=tokenizer, labels=labels)
    store = Predictor(model, KgeStore(path=kge)).kge if kge else None
    # A fine-tuned checkpoint has heads too, but no pre-training goes on from its classes.
    heads = None if model.config.labels else read_heads(Path(published))
    model.save_pretrained(output, kge=store, heads=heads or None)
    saved = Network.from_pretrained(output)
    return ConversionSummary(
        output=output,
        labels=saved.config.labels,
        parameters=parameter_count(saved),
        size=sum(path.stat().st_size for path in Path(output).iterdir() if path.name in (*FILES, HEADS)),
        digest=model_digest(saved),
        store=store,
    )


def parameter_count(model: Network) -> int:
    """Returns the number of the model's parameters."""
    return sum(weight.numel() for weight in model.parameters())


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Raises UserError if the output would replace anything but a model folder, or that without `overwrite`."""
    if output.is_dir() and not any(output.iterdir()):
        return
    if not (output.exists() or output.is_symlink()):
        return
    if not overwrite:
        raise UserError(f"{output}: exists; name another output, or replace a model folder with --overwrite")
    if not _is_model(output):
        raise UserError(f"{output}: no model folder of ours, and not replaced; name another output")
    if foreign := sorted(
        path.name for path in output.iterdir() if path.name not in (*FILES, HEADS) or not path.is_file()
    ):
        raise UserError(
            f"{output}: holds {', '.join(foreign)} beside a model, and is not replaced; name another output"
        )


def _is_model(folder: Path) -> bool:
    try:
        return is_ours(read_json(folder / "config.json"))
    except UserError:
        return False
