"""What a tokenizer.json may be made of: what BERT tokenizers have, and nothing that could panic or never end."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from stonkgs.encode.text import TextEncoder
from stonkgs.encode.tokenizer_file import read_tokenizer
from stonkgs.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "Cafe", "hif", "##1", "-", ",", "é"]
TEXT = "Café HIF1, caf\u0065\u0301 - hif1 細胞 hif1"
WORD_PIECE: dict[str, Any] = {
    "type": "WordPiece",
    "unk_token": "[UNK]",
    "continuing_subword_prefix": "##",
    "max_input_chars_per_word": 100,
    "vocab": {word: number for number, word in enumerate(WORDS)},
}
BERT_NORMALIZER: dict[str, Any] = {
    "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
    "lowercase": True,
}  # fmt: skip
TEMPLATE: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {
        word: {"id": word, "ids": [WORDS.index(word)], "tokens": [word]} for word in ("[CLS]", "[SEP]")
    },
}  # fmt: skip
#: As bert-base-uncased and all tokenizers that were converted from a vocab.txt have it.
BERT: dict[str, Any] = {
    "version": "1.0",
    "truncation": {"max_length": 512, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
    "padding": {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "[PAD]",
    },
    "added_tokens": [
        {
            "id": number, "content": word, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
            "special": True,
        }
        for number, word in enumerate(WORDS[:5])
    ],
    "normalizer": BERT_NORMALIZER,
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": TEMPLATE,
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": WORD_PIECE,
}  # fmt: skip


def steps(kind: str, *inner: Any) -> dict[str, Any]:
    return {"type": "Sequence", kind: list(inner)}


def named(*names: str) -> list[dict[str, Any]]:
    return [{"type": name} for name in names]


#: Tokenizers of BERTs as they are published: what differs from the one above.
PUBLISHED: dict[str, dict[str, Any]] = {
    "bert-base-uncased": {},
    "a cased one, BioBERT": {"normalizer": BERT_NORMALIZER | {"lowercase": False, "strip_accents": False}},
    "of the library's early versions": {
        "model": {key: value for key, value in WORD_PIECE.items() if key != "type"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
    },
    "written out, as in the library's own tutorial": {
        "normalizer": steps("normalizers", *named("NFD", "Lowercase", "StripAccents")),
        "pre_tokenizer": {"type": "Whitespace"},
        "decoder": None,
    },
    "cut by several steps": {
        "normalizer": steps("normalizers", {"type": "Strip", "strip_left": True, "strip_right": True}, *named("NFKC")),
        "pre_tokenizer": steps(
            "pretokenizers", {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Isolated"},
            {"type": "Digits", "individual_digits": True},
        ),
    },
    "without a normalizer": {"normalizer": None},
}  # fmt: skip


def written(folder: Path, values: Any) -> str:
    (folder / "tokenizer.json").write_text(values if isinstance(values, str) else json.dumps(values))
    return str(folder / "tokenizer.json")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_tokenizers_read_as_ever(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, BERT | PUBLISHED[name])
    theirs = Tokenizer.from_file(path)
    theirs.no_truncation()
    encoder = TextEncoder(path=path)
    encoder.check(len(WORDS))
    assert encoder([TEXT])[0][0].tolist() == theirs.encode(TEXT).ids
    encoder.save(tmp_path)
    assert TextEncoder(path=path)([TEXT])[0][0].tolist() == theirs.encode(TEXT).ids


#: Overflows Oniguruma's stack at a text of 50 equal letters: the library panics.
REGEX = {"Regex": "(x+x+)+y"}
DOUBLING = {"type": "Replace", "pattern": {"String": "x"}, "content": "xx"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a regex that replaces": (
        {"normalizer": {"type": "Replace", "pattern": REGEX, "content": ""}},
        "normalizer is 'Replace', which may be BertNormalizer, NFC",
    ),
    "a regex that cuts": (
        {"pre_tokenizer": {"type": "Split", "pattern": REGEX, "behavior": "Isolated", "invert": False}},
        "pre_tokenizer is 'Split'",
    ),
    "a regex in the decoder": (
        {"decoder": {"type": "Replace", "pattern": REGEX, "content": ""}},
        "decoder is 'Replace', which may be WordPiece",
    ),
    "normalizers that double": ({"normalizer": steps("normalizers", *[DOUBLING] * 40)}, "normalizer is 'Replace'"),
    "one that doubles, without its type": (
        {"normalizer": {key: value for key, value in DOUBLING.items() if key != "type"}},
        "normalizer is None",
    ),
    "a sequence without its type": ({"normalizer": {"normalizers": [DOUBLING]}}, "normalizer is None"),
    "one that prepends": ({"normalizer": {"type": "Prepend", "prepend": "x" * 100}}, "normalizer is 'Prepend'"),
    "a harmless one a thousand times": (
        {"normalizer": steps("normalizers", *[BERT_NORMALIZER] * 1000)},
        "normalizer has a step twice",
    ),
    "sequences in sequences": (
        {"normalizer": steps("normalizers", steps("normalizers", *named("NFC")))},
        "normalizer is 'Sequence'",
    ),
    "a sequence of nothing": ({"normalizer": {"type": "Sequence"}}, "normalizer is a Sequence without normalizers"),
    "a step that is none": ({"normalizer": steps("normalizers", None)}, "Sequence without normalizers"),
    "steps of another sequence": (
        {"pre_tokenizer": steps("normalizers", *named("NFC"))},
        "pre_tokenizer is a Sequence without pretokenizers",
    ),
    "words that are bytes": (
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
        "pre_tokenizer is 'ByteLevel'",
    ),
    "a template that reads the text twice": (
        {"post_processor": TEMPLATE | {"single": [*TEMPLATE["single"][:2], *TEMPLATE["single"][1:]]}},
        r"no template \[CLS\] \$A \[SEP\]",
    ),
    "a template of many tokens": (
        {"post_processor": TEMPLATE | {"single": TEMPLATE["single"][:1] * 100_000}},
        r"no template \[CLS\] \$A \[SEP\]",
    ),
    "a special token of many entries": (
        {"post_processor": TEMPLATE | {"special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2] * 10**5, "tokens": []}}}},
        "special token that is not one entry",
    ),
    "post-processors in a sequence": (
        {"post_processor": {"type": "Sequence", "processors": [TEMPLATE] * 40}},
        "post_processor is 'Sequence'",
    ),
    "another model": (
        {"model": {"type": "BPE", "vocab": {}, "merges": []}},
        "model is 'BPE', which must be WordPiece",
    ),
    "another model without its type": (
        {"model": {key: value for key, value in WORD_PIECE.items() if key != "type"} | {"merges": []}},
        "model is 'of another kind', which must be WordPiece",
    ),
    "no model": ({"model": None}, "model is None"),
    "a vocabulary that is a list": ({"model": WORD_PIECE | {"vocab": WORDS}}, "vocabulary lacks the entry"),
    "no entry for unknown words": (
        {"model": WORD_PIECE | {"unk_token": "<unk>"}},
        "vocabulary lacks the entry '<unk>' of unknown words",
    ),
    "a mark as long as a book": (
        {"model": WORD_PIECE | {"continuing_subword_prefix": "#" * 10**6}},
        "continuing_subword_prefix is '####.*not a text of up to 16 characters",
    ),
    "words of any length": (
        {"model": WORD_PIECE | {"max_input_chars_per_word": 10**12}},
        "max_input_chars_per_word is 1000000000000, not a number from 1 to 1,000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_bert_tokenizer_has(name: str, tmp_path: Path) -> None:
    changes, message = REFUSED[name]
    path = written(tmp_path, BERT | changes)
    with pytest.raises(UserError, match=message) as caught:
        TextEncoder(path=path)(["x" * 50])
    assert str(caught.value).startswith(f"{path}: not the tokenizer of a BERT: its ")
    assert len(str(caught.value)) < 400 + len(path)


def test_what_was_checked_is_what_is_read(tmp_path: Path) -> None:
    """Of a key that stands twice Python takes the last value; the library must not see the first one."""
    hidden = f'"pattern": {json.dumps(REGEX)}, "content": "", "type": "Replace"'
    text = json.dumps(BERT).replace('{"type": "BertNormalizer"', f'{{{hidden}, "type": "BertNormalizer"')
    assert '"Replace"' in text
    tokenizer = read_tokenizer(written(tmp_path, text))
    assert "Regex" not in tokenizer.to_str()


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "null", "[" * 100_000, '{"model": "\\ud800"}'])
def test_what_is_no_tokenizer_at_all(content: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json: not (a|the) tokenizer"):
        read_tokenizer(written(tmp_path, content))
