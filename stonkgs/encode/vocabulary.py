"""A WordPiece vocabulary, learned: of the same texts the same, in any process and on any machine."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from stonkgs.disk import make_folder, publish
from stonkgs.encode.text import uncased

#: What every vocabulary begins with; the model's special tokens are numbers of it.
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
#: Characters that words are made of, the most frequent ones; a word with another one is [UNK].
MOST_CHARACTERS = 200
#: What is joined to the piece before it.
_WITHIN = "##"


def learn_vocabulary(texts: Iterable[str], words: int, path: Path) -> Path:
    """Write a vocab.txt of at most `words` WordPiece entries, learned from lower-cased texts (tokenizers' trainer).

    The trainer numbers characters in the order of a hash table that is another one in each process, and breaks ties by
    these numbers. So it is given them: the same texts give the same vocabulary.
    """
    counts = _counted(texts)
    first, within = _characters(counts)
    alphabet = sorted({*first, *within})
    given = [*SPECIAL, *alphabet, *(_WITHIN + character for character in sorted(within))]
    trainer = trainers.WordPieceTrainer(
        vocab_size=words,
        special_tokens=given,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        min_frequency=2,
        show_progress=False,
        continuing_subword_prefix=_WITHIN,
    )
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.train_from_iterator(_repeated(counts), trainer)
    entries = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    make_folder(path.parent)
    with publish(path) as file:
        file.writelines(f"{entry}\n".encode() for entry, _ in entries)
    return path


def _counted(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs, as the model's tokenizer will cut texts into words."""
    normalizer, pre_tokenizer = uncased()
    counts = Counter[str]()
    for text in texts:
        counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))
    return counts


def _characters(counts: Mapping[str, int]) -> tuple[set[str], set[str]]:
    """The most frequent characters, of equals the lower: all, and those that occur behind a word's first."""
    characters, within = Counter[str](), set[str]()
    for word, count in counts.items():
        for character in word:
            characters[character] += count
        within.update(word[1:])
    kept = set(sorted(characters, key=lambda character: (-characters[character], character))[:MOST_CHARACTERS])
    return kept, within & kept


def _repeated(counts: Mapping[str, int]) -> Iterator[str]:
    for word, count in counts.items():
        yield " ".join([word] * count)
