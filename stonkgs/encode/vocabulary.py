"""Learns a WordPiece vocabulary. The same texts give the same vocabulary in any process, on any machine."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from stonkgs.disk import make_folder, publish
from stonkgs.encode.text import uncased

#: The entries that every vocabulary begins with.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
#: Only this many characters are kept, the most frequent ones. A word with any other character is [UNK].
MAX_CHARACTERS = 200
#: Marks a piece that continues a word.
_CONTINUES = "##"


def learn_vocabulary(texts: Iterable[str], words: int, path: Path) -> Path:
    """Learn at most `words` WordPiece entries from lower-cased texts, write them to `path` (a vocab.txt), return it.

    The trainer of `tokenizers` numbers characters in an order that differs between processes, and breaks ties by these
    numbers. Passing the characters as special tokens fixes their numbers, and so the result.
    """
    counts = _count_words(texts)
    characters, continuing = _frequent_characters(counts)
    alphabet = sorted(characters)
    fixed = [*SPECIAL, *alphabet, *(_CONTINUES + character for character in sorted(continuing))]
    trainer = trainers.WordPieceTrainer(
        vocab_size=words,
        special_tokens=fixed,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        min_frequency=2,
        show_progress=False,
        continuing_subword_prefix=_CONTINUES,
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(_repeated(counts), trainer)
    entries = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    make_folder(path.parent)
    with publish(path) as file:
        file.writelines(f"{entry}\n".encode() for entry, _ in entries)
    return path


def _count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words, cut as the model's tokenizer will cut them."""
    normalizer, pre_tokenizer = uncased()
    counts = Counter[str]()
    for text in texts:
        counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
    return counts


def _frequent_characters(counts: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """Returns the most frequent characters, and those of them that occur after the first position of a word."""
    characters, continuing = Counter[str](), set[str]()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
        continuing.update(word[1:])
    kept = set(sorted(characters, key=lambda character: (-characters[character], character))[:MAX_CHARACTERS])
    return kept, continuing & kept


def _repeated(counts: Mapping[str, int]) -> Iterator[str]:
    for word, count in counts.items():
        yield " ".join([word] * count)
