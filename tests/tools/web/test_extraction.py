"""What is taken from a page: what a reader would see, in bounded time."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import BaseTool, ToolException

from plan_execute.tools import read_page_tool
from tests.drawn import drawn
from tests.tools.serving import Reply, serving

lxml_html = pytest.importorskip("lxml.html")
pytest.importorskip("trafilatura")

from plan_execute.tools.web.extraction import drop_hidden, main  # noqa: E402 - it needs them

HTML = {"Content-Type": "text/html; charset=utf-8"}
WORDS = "The deepest tarn of the Larkfell measures 61 metres, which surveyors found in 1927 with a rope and a stone. "
HIDDEN = [
    '<p hidden>CANARY</p>',
    '<p HIDDEN="">CANARY</p>',
    '<p hidden="until-found">CANARY</p>',
    '<p aria-hidden="true">CANARY</p>',
    '<div style="display:none"><p><b>CANARY</b></p></div>',
    '<p style="DISPLAY : NONE !important">CANARY</p>',
    '<p style="color:red;display:/**/none">CANARY</p>',
    '<p style="d\\69splay:none">CANARY</p>',
    '<p style="visibility:hidden">CANARY</p>',
    '<p style="opacity:0">CANARY</p>',
    '<p style="opacity: 0.01;">CANARY</p>',
    '<p style="opacity:.0">CANARY</p>',
    '<p style="font-size:0">CANARY</p>',
    '<p style="font-size:0px">CANARY</p>',
    '<p style="font-size:1px">CANARY</p>',
    '<p style="font: 0/0 a">CANARY</p>',
    '<p style="color:#fff">CANARY</p>',
    '<p style="color:white;background:#ffffff">CANARY</p>',
    '<div style="background-color:rgb(0,0,0)"><p style="color:black">CANARY</p></div>',
    '<p style="color:rgba(1,2,3,0)">CANARY</p>',
    '<p style="color:transparent">CANARY</p>',
    '<p style="position:absolute;left:-9999px">CANARY</p>',
    '<p style="text-indent:-999em">CANARY</p>',
    '<p style="transform:translateX(-9999px)">CANARY</p>',
    '<p style="transform:scale(0)">CANARY</p>',
    '<p style="clip:rect(0,0,0,0);position:absolute">CANARY</p>',
    '<p style="clip-path:inset(100%)">CANARY</p>',
    '<p style="height:0;overflow:hidden">CANARY</p>',
    '<p class="x gone">CANARY</p>',
    '<p id="away">CANARY</p>',
    '<template><p>CANARY</p></template>',
    '<noscript><p>CANARY</p></noscript>',
    '<dialog>CANARY</dialog>',
    '<!-- CANARY -->',
    '<?php CANARY ?>',
    '<script>CANARY</script>',
    '<style>CANARY</style>',
    '<iframe>CANARY</iframe>',
    '<object>CANARY</object>',
]  # fmt: skip
SHOWN = [
    '<p style="opacity:1">CANARY</p>',
    '<p style="opacity:0.5">CANARY</p>',
    '<p style="font-size:10px">CANARY</p>',
    '<p style="font-size:0.9em">CANARY</p>',
    '<p style="font:bold 1.0em/1.2 serif">CANARY</p>',
    '<div style="background:#000"><p style="color:white">CANARY</p></div>',
    '<p style="display:block;left:-20px">CANARY</p>',
    '<p style="left:50%;margin-left:-400px">CANARY</p>',
    '<p style="width:0">CANARY</p>',
    '<p class="printed">CANARY</p>',
    '<p aria-hidden="false">CANARY</p>',
    '<p style="transform:scale(0.9)">CANARY</p>',
]  # fmt: skip
SHEET = "<style>.gone, .other { display: none } #away{opacity:0} @media print { .printed { display: none } }</style>"


def page(body: str) -> bytes:
    shown = f"<article><p>{WORDS * 3}</p>{body}<p>{WORDS}</p></article>"
    return f"<html><head>{SHEET}</head><body>{shown}</body></html>".encode()


@pytest.fixture
def reader() -> BaseTool:
    return read_page_tool(["127.0.0.1"])


def texts(capsys: pytest.CaptureFixture[str], body: str) -> str:
    main(page(body))
    return capsys.readouterr().out


@pytest.mark.parametrize("body", HIDDEN)
def test_what_a_browser_does_not_show_is_not_read(capsys: pytest.CaptureFixture[str], body: str) -> None:
    out = texts(capsys, body)
    assert out.count("deepest tarn") >= 2
    assert "CANARY" not in out
    drawn("ways to hide text in a page tried, none reached the model")


@pytest.mark.parametrize("body", SHOWN)
def test_what_a_browser_shows_is_read(capsys: pytest.CaptureFixture[str], body: str) -> None:
    lines = texts(capsys, body).splitlines()
    assert len(lines) == 2
    assert all("CANARY" in line for line in lines)


def test_text_behind_a_hidden_element_stays() -> None:
    tree = lxml_html.document_fromstring("<body><p>one <b hidden>CANARY</b>two<!-- CANARY --> three</p></body>")
    drop_hidden(tree)
    assert tree.text_content() == "one two three"


def test_invisible_characters_are_dropped_and_spaces_stay(reader: BaseTool) -> None:
    hidden = "".join(chr(0xE0000 + ord(character)) for character in "CANARY")
    body = f"<p>10\xa0km{hidden} to\u200b the\u202e tarn\ufeff, by pa\xadth \N{THIN SPACE}7.</p>"
    with serving(lambda request: Reply(page(body), headers=HTML)) as port:
        text = reader.invoke({"url": f"http://127.0.0.1:{port}/"})
    assert "10 km to the tarn, by path 7." in text


def test_a_page_that_keeps_the_parser_busy_is_read_as_plain_text() -> None:
    rows = "<tr><td colspan=1000>head</td></tr>" + "<tr><td>row</td></tr>" * 60_000
    with serving(lambda request: Reply(page(f"<table>{rows}</table>"), headers=HTML)) as port:
        reader = read_page_tool(["127.0.0.1"], parse_seconds=6)
        text = reader.invoke({"url": f"http://127.0.0.1:{port}/"})
    assert text.startswith("The deepest tarn")
    assert "head\nrow\nrow" in text


def test_a_page_that_is_not_parsed_in_time_is_one_sentence() -> None:
    with serving(lambda request: Reply(page(""), headers=HTML)) as port, pytest.raises(ToolException) as refusal:
        read_page_tool(["127.0.0.1"], parse_seconds=0.001).invoke({"url": f"http://127.0.0.1:{port}/"})
    assert str(refusal.value) == "The text of the page could not be extracted. Try another source."


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "SECRET_TOKEN"])
def test_the_process_that_parses_gets_no_secrets(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A module that stands in for trafilatura shows what a hostile page would find."""
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "trafilatura.py").write_text(
        "import json, os\nprint(json.dumps(repr(dict(os.environ))), flush=True)\ndef load_html(source): return None"
    )
    monkeypatch.setenv(name, "canary")
    monkeypatch.syspath_prepend(str(folder))
    with serving(lambda request: Reply(page(""), headers=HTML)) as port:
        text = read_page_tool(["127.0.0.1"]).invoke({"url": f"http://127.0.0.1:{port}/"})
    assert "PYTHONPATH" in text
    assert "canary" not in text


pieces = st.sampled_from(
    ["<p", ">", "</p>", "<table>", "<tr>", "<td colspan=99>", "<!--", "-->", "<![CDATA[", "]]>", "style='", "'", "</",
     "display:none", "<script>", "&#", "x1F600;", "\0", "\ufeff", "é", "<html>", "</body>", "hidden", "<svg>", "word "]
)  # fmt: skip


@settings(max_examples=200)
@given(st.lists(pieces, max_size=60).map("".join) | st.text(max_size=200))
def test_any_html_is_read(html: str) -> None:
    main(html.encode("utf-8", "replace"))
    drawn("spoiled pages tried, all read")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists the children of a process in files")
def test_no_process_is_left_behind() -> None:
    def children() -> Iterator[str]:
        for task in Path("/proc/self/task").iterdir():
            yield from (task / "children").read_text().split()

    before = set(children())
    test_a_page_that_is_not_parsed_in_time_is_one_sentence()
    assert set(children()) <= before
