"""Reads a tokenizer.json, of which only what a BERT tokenizer is made of is passed on to the `tokenizers` library.

The file may come from anybody, and the library can also run regular expressions and rewrite texts. With these a file
could make it panic, which is no Exception in Python, or work for minutes on one sentence, during which no signal is
answered. None of the kinds that are allowed here has a parameter that could do so.
"""

import json
import reprlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from stonkgs.errors import UserError, printable

#: Steps that clean a text. BertNormalizer is BERT's own one; the others are what it is sometimes written out as.
NORMALIZERS: Final = ("BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip")
#: Steps that cut a text into words.
PRE_TOKENIZERS: Final = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits")
#: What puts [CLS] and [SEP] around a text.
POST_PROCESSORS: Final = ("TemplateProcessing", "BertProcessing")
DECODERS: Final = ("WordPiece",)
#: The most characters of a word, which takes time and memory by their square, and of the mark of a continued word.
LONGEST_WORD, LONGEST_PREFIX = 1_000, 16


def read_tokenizer(path: str) -> Tokenizer:
    """Returns the tokenizer of a tokenizer.json. Raises UserError where it is none, or not one of a BERT."""
    try:
        values = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a tokenizer: {error}") from error
    if wrong := _fault(values):
        raise UserError(f"{path}: not the tokenizer of a BERT: {printable(wrong)}; fetch the model's own tokenizer")
    try:
        # What was checked is passed on, not the file: the library may read the file otherwise, such as repeated keys.
        return Tokenizer.from_str(json.dumps(values | {"truncation": None, "padding": None}))
    except Exception as error:  # the library raises bare Exceptions
        raise UserError(f"{path}: not a tokenizer: {error}") from error


def _fault(values: Any) -> str:
    """Returns in words what no BERT tokenizer has; "" where there is nothing of the kind."""
    if not isinstance(values, Mapping):
        return "no JSON object"
    return (
        _model_fault(values.get("model"))
        or _steps_fault("normalizer", values.get("normalizer"), "normalizers", NORMALIZERS)
        or _steps_fault("pre_tokenizer", values.get("pre_tokenizer"), "pretokenizers", PRE_TOKENIZERS)
        or _kind_fault("post_processor", values.get("post_processor"), POST_PROCESSORS)
        or _template_fault(values.get("post_processor"))
        or _kind_fault("decoder", values.get("decoder"), DECODERS)
    )


def _kind_fault(what: str, step: Any, kinds: Collection[str]) -> str:
    """Checks a step, which may be absent, by its `type`. Untyped steps, of no BERT, are guessed by the library."""
    kind = step.get("type") if isinstance(step, Mapping) else step
    if step is None or (isinstance(kind, str) and isinstance(step, Mapping) and kind in kinds):
        return ""
    return f"its {what} is {_short(kind)}, which may be {', '.join(kinds)}"


def _steps_fault(what: str, step: Any, key: str, kinds: Collection[str]) -> str:
    """Checks a step, or a Sequence of different steps, each of which is no Sequence."""
    if not (isinstance(step, Mapping) and step.get("type") == "Sequence"):
        return _kind_fault(what, step, kinds)
    steps = step.get(key)
    if not isinstance(steps, list) or None in steps:
        return f"its {what} is a Sequence without {key}"
    if wrong := next(filter(None, (_kind_fault(what, inner, kinds) for inner in steps)), ""):
        return wrong
    # Steps such as BertNormalizer put spaces around some characters: often repeated, they make a text long.
    repeated = len({inner["type"] for inner in steps}) < len(steps)
    return f"its {what} has a step twice" if repeated else ""


def _template_fault(step: Any) -> str:
    """Checks that a template has the text once, between two special tokens."""
    if not isinstance(step, Mapping) or step.get("type") != "TemplateProcessing":
        return ""
    pieces, special = step.get("single"), step.get("special_tokens")
    kinds = [list(piece) for piece in pieces if isinstance(piece, Mapping)] if isinstance(pieces, list) else []
    if kinds != [["SpecialToken"], ["Sequence"], ["SpecialToken"]]:
        return "its post_processor is no template [CLS] $A [SEP]"
    tokens = list(special.values()) if isinstance(special, Mapping) else [None]
    single = all(isinstance(token, Mapping) and len(token.get("ids") or []) == 1 for token in tokens)
    return "" if single else "its post_processor has a special token that is not one entry"


def _model_fault(model: Any) -> str:
    """Checks the vocabulary. Early versions of the library wrote no type of a model."""
    if not isinstance(model, Mapping) or model.get("type", "WordPiece") != "WordPiece" or "merges" in model:
        kind = model.get("type", "of another kind") if isinstance(model, Mapping) else model
        return f"its model is {_short(kind)}, which must be WordPiece"
    vocabulary, unknown = model.get("vocab"), model.get("unk_token")
    if not isinstance(vocabulary, Mapping) or not isinstance(unknown, str) or unknown not in vocabulary:
        return f"its vocabulary lacks the entry {_short(unknown)} of unknown words"
    prefix, longest = model.get("continuing_subword_prefix"), model.get("max_input_chars_per_word")
    if not isinstance(prefix, str) or len(prefix) > LONGEST_PREFIX:
        return f"its continuing_subword_prefix is {_short(prefix)}, not a text of up to {LONGEST_PREFIX} characters"
    if type(longest) is not int or not 0 < longest <= LONGEST_WORD:
        return f"its max_input_chars_per_word is {_short(longest)}, not a number from 1 to {LONGEST_WORD:,}"
    return ""


def _short(value: Any) -> str:
    return reprlib.repr(value)
