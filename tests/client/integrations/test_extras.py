import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("name", "library"),
    [("langchain", "langchain_core"), ("llamaindex", "llama_index"), ("haystack", "haystack")],
)
def test_an_adapter_without_its_framework_says_what_to_install(name: str, library: str) -> None:
    program = (
        f"import sys; sys.modules[{library!r}] = None\nimport finesieve_client.integrations.{name}"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert f"pip install 'finesieve[{name}]'" in done.stderr.splitlines()[-1]
