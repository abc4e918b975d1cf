import pytest

from finesieve_client.chunking.extraction.markdown import read
from finesieve_client.chunking.source import Source


def blocks(source: Source) -> list[str]:
    return [source.text[block.start : block.end] for block in source.blocks]


PAGE = """\
Before all headings.

# The [Guide](x.md) to `eels`

First words.

## Install

- one item
  of two lines
- another

```sh
## no heading
    make
```

| a | b |
|---|---|
| 1 | 2 |

### On Linux

1. first
2. second

Run
---

> quoted
> words

[ref]: https://example.com
"""


def test_blocks_are_in_order_each_under_its_headings() -> None:
    source = read(PAGE)

    assert source.title == "The Guide to eels"
    assert [
        (text, block.headings) for text, block in zip(blocks(source), source.blocks, strict=True)
    ] == [
        ("Before all headings.", ()),
        ("# The [Guide](x.md) to `eels`", ()),
        ("First words.", ()),
        ("## Install", ("Install",)),
        ("- one item\n  of two lines", ("Install",)),
        ("- another", ("Install",)),
        ("```sh\n## no heading\n    make\n```", ("Install",)),
        ("| a | b |\n|---|---|\n| 1 | 2 |", ("Install",)),
        ("### On Linux", ("Install", "On Linux")),
        ("1. first", ("Install", "On Linux")),
        ("2. second", ("Install", "On Linux")),
        ("Run\n---", ("Run",)),
        ("> quoted\n> words", ("Run",)),
        ("[ref]: https://example.com", ("Run",)),
    ]


def test_tables_and_code_are_whole_and_headings_are_headings() -> None:
    source = read(PAGE)

    whole = [text for text, block in zip(blocks(source), source.blocks, strict=True) if block.whole]
    headings = [
        text for text, block in zip(blocks(source), source.blocks, strict=True) if block.is_heading
    ]
    assert [text[:3] for text in whole] == ["```", "| a"]
    assert [text[:4] for text in headings] == ["# Th", "## I", "### ", "Run\n"]


def test_front_matter_gives_the_title_and_is_no_text() -> None:
    source = read('---\ntitle: "Eels"\ndate: 2026-01-01\n---\n# About them\n\nWords.\n')

    assert source.title == "Eels"
    assert blocks(source) == ["# About them", "Words."]
    assert source.blocks[-1].headings == ("About them",)


def test_a_line_without_front_matter_before_it_is_a_rule() -> None:
    assert blocks(read("---\n\nWords.\n")) == ["---", "Words."]


def test_indented_code_keeps_its_first_indentation() -> None:
    assert blocks(read("Words.\n\n    def f():\n        pass\n")) == [
        "Words.",
        "    def f():\n        pass",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "# only a heading",
        "no heading",
        "* a\n* b",
        "<div>html</div>",
        "a\n\n\n\nb",
        "#",
        "- \n- x",
        "```",
    ],
)
def test_nothing_but_white_space_is_outside_of_blocks(text: str) -> None:
    assert "".join("".join(blocks(read(text))).split()) == "".join(text.split())


def test_deep_nesting_is_read_in_time() -> None:
    source = read("> " * 20_000 + "deep")

    assert source.text[source.blocks[0].start : source.blocks[-1].end].endswith("deep")
