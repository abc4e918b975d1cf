"""Make small real checkpoints: transformers' own classes, random weights, a tokenizer of words."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from finesieve_export.parity import Tolerance
from finesieve_export.real_text import read_questions

WINDOW = 96
ANY_LOSS = Tolerance(largest_error=1e9, rank_correlation=-1, top_10_overlap=0)
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# transformers annotates little of what it takes.
_library: Any = transformers


def save_bi_encoder(folder: Path) -> None:
    """Save one as sentence-transformers does: mean pooling, unit length, prefixes."""
    _save(folder, "BertModel", seed=1)
    types = ("Transformer", "Pooling", "Normalize")
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{name}" if index else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for index, name in enumerate(types)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 48, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    prompts = {"prompts": {"query": "ask: ", "document": "text: "}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64}))


def save_cross_encoder(folder: Path) -> None:
    _save(folder, "BertForSequenceClassification", seed=2)


def save_architecture(folder: Path, architecture: str) -> None:
    """Save a cross-encoder of another architecture, "XLMRoberta" for instance."""
    _save(
        folder, f"{architecture}ForSequenceClassification", seed=3, config=f"{architecture}Config"
    )


def _save(folder: Path, class_name: str, *, seed: int, config: str = "BertConfig") -> None:
    tokenizer = _make_tokenizer(segments=config == "BertConfig")
    tokenizer.save_pretrained(folder)
    settings = getattr(_library, config)(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        # Some keep two positions for padding.
        max_position_embeddings=WINDOW if config == "BertConfig" else WINDOW + 2,
        # Wide enough that random weights tell texts apart.
        initializer_range=0.2,
        num_labels=1,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    torch.manual_seed(seed)
    getattr(_library, class_name)(settings).save_pretrained(folder)


def _make_tokenizer(*, segments: bool) -> Any:
    words = Counter(
        word.lower()
        for question in read_questions(400)
        for word in question.passage.split()
        if word.isalpha()
    )
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [*_SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    pieces += [word for word, _ in words.most_common(600) if len(word) > 1]
    core = Tokenizer(
        models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    if segments:
        return _library.BertTokenizerFast(tokenizer_object=core, model_max_length=WINDOW)
    return _library.PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=WINDOW,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), _SPECIAL, strict=False)),
    )


def say_nothing(step: str, done: float = 0.0) -> None:
    """Take a conversion's progress."""
