"""Find a source model, on the hub or in a folder. Takes configuration and safe weights only."""

from dataclasses import dataclass
from pathlib import Path

from finesieve_export.errors import BadCheckpoint

_TAKEN = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md")
# The same model in other formats, as sentence-transformers puts it beside: many times the size.
_LEFT = ("onnx/*", "openvino/*")


@dataclass(frozen=True, slots=True)
class Found:
    """A source model on this machine; the hub tells its revision, a local folder does not."""

    folder: Path
    name: str
    revision: str = ""


def find_folder(model: str, revision: str | None) -> Found:
    """Return the folder that holds a model; downloads a hub model's safe files."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        # Only its name: a manifest travels, and the path to it is nobody's business.
        return Found(folder, folder.resolve().name)
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise BadCheckpoint(f"no folder {model}; give a local folder or a hub id such as org/name")
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(
            model,
            revision=revision,
            allow_patterns=list(_TAKEN),
            ignore_patterns=list(_LEFT),
        )
    except (OSError, ValueError) as error:  # All of the hub's errors are one of these.
        raise BadCheckpoint(
            f"cannot download {model}: {error}\n"
            "Check the name, the network and HF_TOKEN, or give a local folder."
        ) from error
    return Found(Path(snapshot), model, Path(snapshot).name)
