"""What a source folder's files say, and which folders are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finesieve_export.checkpoint import Overrides, read_checkpoint
from finesieve_export.errors import BadCheckpoint
from finesieve_export.hub import Found, find_folder

Edit = Callable[[Path], None]


@pytest.fixture
def folder(bi_encoder_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bi_encoder_folder, tmp_path / "checkpoint"))


def edit_json(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def test_only_the_name_of_a_local_folder_is_kept(folder: Path) -> None:
    found = find_folder(str(folder), None)

    checkpoint = read_checkpoint(found, "bi-encoder", Overrides())

    assert checkpoint.source == "checkpoint"


def test_the_users_word_stands_before_the_files(folder: Path) -> None:
    overrides = Overrides(
        pooling="cls", normalized=False, query_prefix="", max_tokens=32, license="mit"
    )

    checkpoint = read_checkpoint(Found(folder, "x"), "bi-encoder", overrides)

    assert (checkpoint.pooling, checkpoint.normalized) == ("cls", False)
    assert (checkpoint.query_prefix, checkpoint.passage_prefix) == ("", "text: ")
    assert (checkpoint.max_tokens, checkpoint.license) == (32, "mit")


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n", "apache-2.0"),
        ('---\nlicense: "mit"\n---\n', "mit"),
        ("---\nlicense:\n- mit\n- apache-2.0\n---\n", "mit, apache-2.0"),
        ("\ufeff---\nlicense: mit\n---\n", "mit"),
        ("---\nlanguage: en\n---\n", ""),
        ("# A model\n", ""),
    ],
)
def test_the_license_is_read_from_the_model_card(folder: Path, card: str, expected: str) -> None:
    (folder / "README.md").write_text(card, encoding="utf-8")

    checkpoint = read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides())

    assert checkpoint.license == expected


def test_a_fingerprint_tells_windows_and_configurations_apart(folder: Path) -> None:
    def fingerprint(**overrides: Any) -> str:
        found = Found(folder, "x")
        return read_checkpoint(found, "bi-encoder", Overrides(**overrides)).fingerprint("words")

    plain = fingerprint()
    shorter = fingerprint(max_tokens=32)
    edit_json(folder / "config.json", transformers_version="0")
    saved_again = fingerprint()
    edit_json(folder / "config.json", layer_norm_eps=0.5)
    changed = fingerprint()

    assert saved_again == plain
    assert len({plain, shorter, changed}) == 3


def test_a_name_is_the_models_own_whatever_its_source_is_said_to_be(folder: Path) -> None:
    overrides = Overrides(source="ours, from org/base and CC BY/SA text")

    checkpoint = read_checkpoint(Found(folder, "org/model"), "bi-encoder", overrides)

    assert checkpoint.name == "model"


def test_pooling_is_read_from_either_form_of_its_configuration(folder: Path) -> None:
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({"embedding_dimension": 48, "pooling_mode": "lasttoken"}))
    new = read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides())
    path.write_text(json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))
    old = read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides())

    assert (new.pooling, old.pooling) == ("last", "cls")


def test_positions_that_start_after_padding_shorten_the_window(folder: Path) -> None:
    (folder / "sentence_bert_config.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    edit_json(
        folder / "config.json",
        model_type="xlm-roberta",
        max_position_embeddings=514,
        pad_token_id=1,
    )

    checkpoint = read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides())

    assert checkpoint.max_tokens == 512


def test_a_declared_identity_is_not_taken_for_a_probability(
    cross_encoder_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(cross_encoder_folder, tmp_path / "checkpoint"))
    edit_json(
        folder / "config.json",
        sentence_transformers={"activation_fn": "torch.nn.modules.linear.Identity"},
    )

    declared = read_checkpoint(Found(folder, "x"), "cross-encoder", Overrides())
    stated = read_checkpoint(Found(folder, "x"), "cross-encoder", Overrides(activation="identity"))

    assert (declared.activation, stated.activation) == ("sigmoid", "identity")


def remove_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def break_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def pickle_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def bring_code(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="homemade", auto_map={"AutoModel": "code.Model"})


def bring_a_module(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "custom_pooling.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))


def add_a_dense_head(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    (folder / "modules.json").write_text(json.dumps(modules))


def pool_by_maximum(folder: Path) -> None:
    edit_json(
        folder / "1_Pooling" / "config.json",
        pooling_mode_mean_tokens=False,
        pooling_mode_max_tokens=True,
    )


def forget_modules(folder: Path) -> None:
    (folder / "modules.json").unlink()


def list_the_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def name_modules(folder: Path) -> None:
    (folder / "modules.json").write_text('{"0": "Transformer"}')


def spell_the_window(folder: Path) -> None:
    edit_json(folder / "sentence_bert_config.json", max_seq_length="long")


def leave_prompts_out_of_pooling(folder: Path) -> None:
    edit_json(folder / "1_Pooling" / "config.json", include_prompt=False)


def name_an_absent_prompt(folder: Path) -> None:
    edit_json(folder / "config_sentence_transformers.json", default_prompt_name="absent")


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (list_the_configuration, "config.json is not a JSON object"),
        (name_modules, "modules.json is not a list of modules"),
        (spell_the_window, "max_seq_length is 'long'"),
        (leave_prompts_out_of_pooling, "include_prompt is false"),
        (name_an_absent_prompt, "'absent' is none of its prompts"),
        (remove_configuration, "has no config.json"),
        (break_configuration, "cannot be read"),
        (pickle_weights, "no .*safetensors.*pytorch_model.bin, which may run code"),
        (bring_code, "code of their own are refused"),
        (bring_a_module, "'custom_pooling.Pooling' with code of its own"),
        (add_a_dense_head, "not converted so far: .'Dense'"),
        (pool_by_maximum, "pools by .'max'"),
        (forget_modules, "give --pooling"),
    ],
)
def test_a_folder_we_cannot_or_will_not_convert_is_refused_with_the_reason(
    folder: Path, edit: Edit, reason: str
) -> None:
    edit(folder)

    with pytest.raises(BadCheckpoint, match=reason):
        read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides())


def test_a_window_beyond_the_positions_is_refused(folder: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"--max-tokens is 97; .* has 96 positions"):
        read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides(max_tokens=97))

    whole = read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides(max_tokens=96))
    assert whole.max_tokens == 96


def test_pooling_without_prompts_is_converted_where_there_are_none(folder: Path) -> None:
    leave_prompts_out_of_pooling(folder)
    overrides = Overrides(query_prefix="", passage_prefix="")

    assert read_checkpoint(Found(folder, "x"), "bi-encoder", overrides).pooling == "mean"


def test_the_default_prompt_stands_before_what_has_none_of_its_own(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps({"prompts": {"query": "q: ", "all": "a: "}}))
    edit_json(path, default_prompt_name="all")

    checkpoint = read_checkpoint(Found(folder, "x"), "bi-encoder", Overrides())

    assert (checkpoint.query_prefix, checkpoint.passage_prefix) == ("q: ", "a: ")


def test_many_labels_are_refused(cross_encoder_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(cross_encoder_folder, tmp_path / "checkpoint"))
    edit_json(folder / "config.json", id2label={"0": "no", "1": "yes"})

    with pytest.raises(BadCheckpoint, match="gives 2 labels a pair"):
        read_checkpoint(Found(folder, "x"), "cross-encoder", Overrides())


@pytest.mark.parametrize("model", ["./absent", "/absent/model", "~/absent", "a/b/c"])
def test_a_path_that_is_no_folder_is_not_taken_for_a_hub_model(model: str) -> None:
    with pytest.raises(BadCheckpoint, match="no folder"):
        find_folder(model, None)


def test_a_hub_model_that_cannot_be_had_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(BadCheckpoint, match=r"cannot download org/absent[\s\S]*local folder"):
        find_folder("org/absent", None)
