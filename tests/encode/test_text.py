"""The text half."""

import json
import pickle
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from stonkgs.encode.text import TextEncoder
from stonkgs.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "mask", "cafe", "Cafe", "hif", "##1", "-"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS), "utf-8")
    return path


def words(encoder: TextEncoder, text: str) -> list[str]:
    return [WORDS[number] for number in encoder([text])[0][0]]


def test_lower_case_and_no_accents(vocabulary: Path) -> None:
    assert words(TextEncoder(path=str(vocabulary)), "Café HIF1") == ["[CLS]", "cafe", "hif", "##1", "[SEP]"]


def test_a_sentence_cannot_inject_special_tokens(vocabulary: Path) -> None:
    assert words(TextEncoder(path=str(vocabulary)), "[MASK]") == ["[CLS]", "[", "mask", "]", "[SEP]"]


def test_empty_text_is_valid(vocabulary: Path) -> None:
    assert words(TextEncoder(path=str(vocabulary)), "") == ["[CLS]", "[SEP]"]


def test_cut_keeps_the_separator(vocabulary: Path) -> None:
    encoder = TextEncoder(path=str(vocabulary), length=4)
    (fits, fits_cut), (long, long_cut) = encoder(["cafe cafe", "cafe cafe hif"])
    assert [WORDS[n] for n in long] == [WORDS[n] for n in fits] == ["[CLS]", "cafe", "cafe", "[SEP]"]
    assert (fits_cut, long_cut) == (False, True)


def test_words_over_100_characters_are_unknown(vocabulary: Path) -> None:
    encoder = TextEncoder(path=str(vocabulary))
    assert words(encoder, "hif" + "1" * 97) == ["[CLS]", "hif", *["##1"] * 97, "[SEP]"]
    assert words(encoder, "hif" + "1" * 98) == ["[CLS]", "[UNK]", "[SEP]"]


def test_lines_that_python_splits_stay_entries(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*WORDS, "\x85", "\u2028", "last"]) + "\n", "utf-8")
    encoder = TextEncoder(path=str(path))
    assert encoder.vocabulary_size == len(WORDS) + 3
    assert encoder(["last"])[0][0][1] == len(WORDS) + 2


def test_saved_it_reads_the_same_and_transformers_reads_it_too(vocabulary: Path, tmp_path: Path) -> None:
    encoder = TextEncoder(path=str(vocabulary), length=8)
    encoder.save(tmp_path)
    again = TextEncoder(path=str(tmp_path / "tokenizer.json"), length=8)
    text = "Café [MASK] - HIF1 hif hif hif"
    assert again([text])[0][0].tolist() == encoder([text])[0][0].tolist()
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(text, truncation=True).input_ids == encoder([text])[0][0].tolist()


def test_pickles_as_its_path(vocabulary: Path) -> None:
    encoder = TextEncoder(path=str(vocabulary))
    assert isinstance(encoder.tokenizer, Tokenizer)
    assert len(pickle.dumps(encoder)) < 1000
    assert pickle.loads(pickle.dumps(encoder))(["cafe"])[0][0].tolist() == encoder(["cafe"])[0][0].tolist()


def test_a_tokenizer_that_does_not_fit_its_model(vocabulary: Path, tmp_path: Path) -> None:
    good = TextEncoder(path=str(vocabulary))
    good.check(len(WORDS))
    with pytest.raises(UserError, match=r"13 entries, but .* has 14: this is another model's vocabulary"):
        good.check(14)
    values = json.loads(good.tokenizer.to_str())
    bare, far = {**values, "post_processor": None}, json.loads(json.dumps(values).replace('"##1": 11', '"##1": 999'))
    for wrong, message in ((bare, r"an empty text gives \[\], not \[CLS\] \[SEP\]"), (far, "numbers an entry 999")):
        (tmp_path / "tokenizer.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=message):
            TextEncoder(path=str(tmp_path / "tokenizer.json")).check(len(WORDS))


@pytest.mark.parametrize(("name", "content"), [("vocab.txt", "a\nb\n"), ("tokenizer.json", "{}"), ("vocab.txt", None)])
def test_what_is_no_tokenizer(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=str(tmp_path / name)):
        TextEncoder(path=str(tmp_path / name))(["x"])
