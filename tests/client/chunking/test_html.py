import pytest

from finesieve_client.chunking.extraction.html import MAX_NESTING, read
from finesieve_client.chunking.source import Source, UnreadableFile


def blocks(source: Source) -> list[str]:
    return [source.text[block.start : block.end] for block in source.blocks]


PAGE = """<!doctype html><html><head><title>Eel &amp; guide</title><style>p {}</style></head><body>
<header>Site name</header><nav><a href=/>Home</a></nav>
<h1>Eel &amp; guide</h1><p>First <b>wo</b>rds<br>in two lines.</p><script>x = "<p>no</p>"</script>
<h2>Where they <em>live</em></h2>
<ul><li>the sea<li>rivers <ul><li>small ones</ul></ul>
<pre>
  def f():
      pass
</pre>
<table><tr><th>name<th>length<tr><td>eel<td>1 m</table>
<p hidden>not seen</p><!-- a comment --><noscript>no script</noscript>
<div>A division <p>with a paragraph</p> and more.</div>
<footer>Imprint</footer></body></html>"""


def test_text_is_read_in_order_without_what_is_no_text_of_the_page() -> None:
    assert blocks(read(PAGE)) == [
        "Eel & guide",
        "First words\nin two lines.",
        "Where they live",
        "- the sea",
        "- rivers",
        "- small ones",
        "  def f():\n      pass",
        "name | length\neel | 1 m",
        "A division",
        "with a paragraph",
        "and more.",
    ]


def test_headings_stand_over_what_follows_and_the_first_is_the_title() -> None:
    source = read(PAGE)

    assert source.title == "Eel & guide"
    assert [block.headings for block in source.blocks[:2]] == [(), ()]
    assert {block.headings for block in source.blocks[2:]} == {("Where they live",)}
    assert [block.is_heading for block in source.blocks[:4]] == [True, False, True, False]
    assert [block.whole for block in source.blocks[5:9]] == [False, True, True, False]


def test_a_page_that_marks_its_main_part_is_read_there_alone() -> None:
    source = read("<body><p>menu</p><main><header><h1>A</h1></header><p>text</p></main><p>x</p>")

    assert blocks(source) == ["A", "text"]
    assert source.title == "A"


@pytest.mark.parametrize("html", ["", "<p></p>", "<script>x</script>", "<nav>menu</nav>"])
def test_a_page_without_text_has_no_blocks(html: str) -> None:
    assert read(html).blocks == ()


def test_broken_html_is_read_as_browsers_read_it() -> None:
    assert blocks(read("<p>one<p>two</b></div><h2>three")) == ["one", "two", "three"]
    assert blocks(read("plain & simple < text")) == ["plain & simple < text"]


def test_many_paragraphs_without_end_are_not_nested() -> None:
    assert len(read("<p>x" * 20_000).blocks) == 20_000


def test_nesting_that_would_hold_up_the_parser_is_refused() -> None:
    with pytest.raises(UnreadableFile, match=f"nested deeper than {MAX_NESTING}"):
        read("<div>" * 100_000)
