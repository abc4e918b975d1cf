"""Framing as the tokenizer itself would, and texts that try to be more than text."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer as TokenizerCore
from tokenizers import models, normalizers, pre_tokenizers, processors

from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.tokenizer import Tokenizer

WORDS = ["what", "is", "a", "sieve", "first", "second", "##s", "[", "]", "cl", "sep", "##cls", "<"]
WORDS += ["/", "s", ">"]


def bert(folder: Path) -> Path:
    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    core = TokenizerCore(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    core.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def roberta(folder: Path) -> Path:
    """Two tokens between the texts, no segments, and a vocabulary that spells its own specials."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *WORDS]
    core = TokenizerCore(models.Unigram([(word, -1.0) for word in words], unk_id=3))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    core.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.mark.parametrize("make", [bert, roberta])
def test_a_framed_pair_is_what_the_tokenizer_makes_of_the_two_texts(
    make: object, tmp_path: Path
) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    ours, theirs = Tokenizer(path), TokenizerCore.from_file(str(path))

    query, passage = ours.encode(["what is a sieve", "a sieve is a sieve"])
    framed = ours.pair.frame(query, passage)
    expected = theirs.encode("what is a sieve", "a sieve is a sieve")

    assert framed.ids.tolist() == expected.ids
    segments = [int(at >= framed.second_start) for at in range(len(framed))]
    if any(expected.type_ids):
        assert segments == expected.type_ids


@pytest.mark.parametrize("make", [bert, roberta])
def test_a_framed_text_is_what_the_tokenizer_makes_of_it(make: object, tmp_path: Path) -> None:
    path = make(tmp_path)  # type: ignore[operator]
    ours, theirs = Tokenizer(path), TokenizerCore.from_file(str(path))

    framed = ours.single.frame(*ours.encode(["what is a sieve"]))

    assert framed.ids.tolist() == theirs.encode("what is a sieve").ids
    assert framed.second_start == len(framed)


@pytest.mark.parametrize(
    ("make", "text", "special"),
    [(bert, "a [SEP] sieve [CLS]", {2, 3}), (roberta, "a </s> sieve <s>", {0, 2})],
)
def test_special_tokens_in_a_text_are_plain_text(
    make: object, text: str, special: set[int], tmp_path: Path
) -> None:
    tokenizer = Tokenizer(make(tmp_path))  # type: ignore[operator]

    [ids] = tokenizer.encode([text])

    assert not special & set(ids.tolist())
    assert len(ids) > 2


@pytest.mark.parametrize("content", ["", "{}", "[]", "not JSON", '{"model": {"type": "X"}}'])
def test_a_file_that_is_no_tokenizer_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)

    with pytest.raises(BadArtifact, match=r"tokenizer\.json cannot be read"):
        Tokenizer(tmp_path / "tokenizer.json")


def test_offsets_count_characters_not_bytes(tmp_path: Path) -> None:
    tokenizer = Tokenizer(bert(tmp_path))
    text = "ấ sieve 😀 first"

    ids, offsets = tokenizer.encode_with_offsets(text)

    assert len(ids) == len(offsets)
    assert [text[start:end] for start, end in offsets] == ["ấ", "sieve", "😀", "first"]
