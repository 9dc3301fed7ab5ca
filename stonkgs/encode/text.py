"""The input `text`: turns sentences into WordPiece token numbers."""

import json
import os
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from stonkgs.encode.inputs import Arrays, Input, Tensors, integers
from stonkgs.encode.tokenizer_file import read_tokenizer
from stonkgs.errors import UserError, printable
from stonkgs.statement import Statement

#: A text's token numbers `[CLS] pieces [SEP]`, int32 [T], and whether the text was cut to fit.
Tokens = tuple[npt.NDArray[np.int32], bool]

#: Words with more characters are [UNK], as in BERT.
LONGEST_WORD = 100


class TextEncoder:
    """A WordPiece tokenizer, read from a `tokenizer.json` or from the `vocab.txt` of a published text backbone.

    With a `vocab.txt`, texts are lower-cased and lose their accents: the published models were trained so, although
    their vocabulary is cased. Words that look like special tokens ("[MASK]") are read as ordinary text, so that no
    sentence can inject one.
    """

    def __init__(self, *, path: str, length: int = 256) -> None:
        self.path = path
        self.length = length

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "length": self.length}

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the `tokenizers` library. Each process reads it on first use; raises UserError."""
        # DataLoader workers run in parallel already. Threads of the tokenizer would compete with them, and a process
        # that is forked after these threads ran would wait for them forever.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        tokenizer = _from_vocabulary(self.path) if self.path.endswith(".txt") else read_tokenizer(self.path)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return tokenizer

    @property
    def vocabulary_size(self) -> int:
        """Number of entries, including special tokens."""
        return int(self.tokenizer.get_vocab_size())

    def check(self, entries: int) -> None:
        """Raises UserError unless this is a BERT tokenizer for a model with `entries` word embeddings."""
        if self.vocabulary_size != entries:
            raise UserError(
                f"{self.path}: {self.vocabulary_size:,} entries, but the model's text backbone has {entries:,}: "
                "this is another model's vocabulary"
            )
        try:
            ends = self.tokenizer.encode("").ids
        except Exception as error:  # the library raises bare Exceptions
            raise UserError(f"{self.path}: not a tokenizer: {error}") from error
        if len(ends) != 2 or ends[0] == ends[1]:
            raise UserError(f"{self.path}: an empty text gives {ends}, not [CLS] [SEP]: this is no BERT tokenizer")
        if (last := max(*ends, *self.tokenizer.get_vocab().values())) >= entries:
            raise UserError(
                f"{self.path}: numbers an entry {last:,}, but the text backbone's end at {entries - 1:,}: "
                "fetch the model's own tokenizer"
            )

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Returns the tokens of each text, at most `length` of them."""
        return [self._cut(encoding.ids) for encoding in self.tokenizer.encode_batch_fast(list(texts))]

    def _cut(self, ids: list[int]) -> Tokens:
        if len(ids) <= self.length:
            return np.array(ids, np.int32), False
        return np.array([*ids[: self.length - 1], ids[-1]], np.int32), True

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`. AutoTokenizer of transformers reads them, too."""
        names = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.length,
            "split_special_tokens": True,
            **names,
        }
        self.tokenizer.save(str(Path(folder) / "tokenizer.json"))
        (Path(folder) / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), "utf-8")


class Texts(Input):
    """The text of each statement: its evidence, or what `of` returns.

    Arrays for B rows with U <= B distinct texts of at most T tokens: `tokens`, int32 [U, T], padded with 0; `lengths`,
    int32 [U]; `index`, int32 [B], the text of each row; `truncated`, bool [B], whether it was cut to fit. Tensors: the
    first three as int64.
    """

    def __init__(self, tokenizer: TextEncoder, *, of: Callable[[Statement], str] = attrgetter("evidence")) -> None:
        self.tokenizer = tokenizer
        self.of = of

    def encode(self, statements: Sequence[Statement]) -> list[Tokens]:
        """Returns the tokens of each statement's text."""
        return self.tokenizer([self.of(statement) for statement in statements])

    def order(self, value: Tokens) -> tuple[int, bytes]:
        """Returns length, so that batches need little padding, then content, so that equal texts share a batch."""
        return len(value[0]), value[0].tobytes()

    def collate(self, values: Sequence[Tokens]) -> Arrays:
        """Hold each distinct text once."""
        numbers: dict[bytes, int] = {}
        index = np.array([numbers.setdefault(ids.tobytes(), len(numbers)) for ids, _ in values], np.int32)
        lengths = np.array([len(key) // 4 for key in numbers], np.int32)
        padded = np.zeros((len(numbers), lengths.max(initial=0)), np.int32)
        for row, key in zip(padded, numbers, strict=True):
            row[: len(key) // 4] = np.frombuffer(key, np.int32)
        truncated = np.array([truncated for _, truncated in values], np.bool_)
        return {"tokens": padded, "lengths": lengths, "index": index, "truncated": truncated}

    def tensors(self, arrays: Arrays, weight: Tensor) -> Tensors:
        return integers(arrays, ("tokens", "lengths", "index"), weight)


def check_special(path: str, vocabulary: Collection[str]) -> None:
    """Raises UserError if a vocabulary lacks a token of BERT that a new model needs, or has it by another name."""
    if missing := {"[UNK]", "[CLS]", "[SEP]", "[MASK]"}.difference(vocabulary):
        raise UserError(f"{path}: not a BERT vocabulary: no {sorted(missing)}")


def uncased() -> tuple[normalizers.Normalizer, pre_tokenizers.PreTokenizer]:
    """Returns the steps by which BERT's uncased tokenizer cuts a text into words."""
    return normalizers.BertNormalizer(lowercase=True, strip_accents=True), pre_tokenizers.BertPreTokenizer()


def _from_vocabulary(path: str) -> Tokenizer:
    """Returns BERT's uncased tokenizer with the vocabulary of a vocab.txt. Raises UserError."""
    try:
        # Not splitlines(): a vocabulary may contain characters that Python takes for line ends.
        lines = Path(path).read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a vocabulary: {error}") from error
    vocabulary = {token: number for number, token in enumerate(lines)}
    if len(vocabulary) < len(lines):
        number, token = next((number, token) for number, token in enumerate(lines) if vocabulary[token] != number)
        raise UserError(
            f"{path}: not a vocabulary: line {vocabulary[token] + 1:,} repeats the entry {printable(token)!r} of line "
            f"{number + 1:,}; take out one of them, and lines without text"
        )
    check_special(path, vocabulary)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD))
    tokenizer.normalizer, tokenizer.pre_tokenizer = uncased()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    return tokenizer
