"""Which tools the command line and the server have by default, by the data named."""

import runpy
import sys
from pathlib import Path

import pytest

from plan_execute.tools import make_default_tools, sample_database

DATABASE = {"list_tables", "describe_tables", "query_database"}
WEB = {"search_web", "read_page"}


def names(db: str | None = None, docs: str | None = None, *, web: bool | None = False) -> set[str]:
    return {tool.name for tool in make_default_tools(db, docs, web=web)}


def test_sample_is_used_only_if_no_data_are_named(tmp_path: Path) -> None:
    (tmp_path / "rules.md").write_text("# Rules\n\nNo gifts.")
    sample = names()
    documents = sample - DATABASE - {"calculate"}
    assert sample > DATABASE
    assert documents
    assert names(db=str(sample_database())) == {"calculate"} | DATABASE
    assert names(docs=str(tmp_path)) == {"calculate"} | documents


def test_files_are_written_only_if_that_is_wanted(tmp_path: Path) -> None:
    reading = {"calculate", "list_files", "read_file", "find_in_files"}
    assert {tool.name for tool in make_default_tools(files=str(tmp_path), web=False)} == reading
    writing = make_default_tools(files=str(tmp_path), write_files=True, web=False)
    assert {tool.name for tool in writing} == reading | {"write_file", "edit_file"}


def test_server_reads_the_files_that_the_environment_names_and_writes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAN_EXECUTE_FILES", str(tmp_path))
    served = {tool.name for tool in runpy.run_module("plan_execute.graphs.server")["_tools"]}
    assert served >= {"list_files", "read_file", "find_in_files"}
    assert not served & ({"write_file", "edit_file"} | DATABASE)


def test_tools_for_data_files_have_names_of_their_own_beside_a_database(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    (tmp_path / "sales.csv").write_text("a,b\n1,2\n")
    data = [str(tmp_path / "sales.csv")]
    own = {f"data_{name}" for name in DATABASE}
    assert {tool.name for tool in make_default_tools(data=data, web=False)} == {"calculate"} | DATABASE
    both = make_default_tools(str(sample_database()), data=data, web=False)
    assert {tool.name for tool in both} == {"calculate"} | DATABASE | own


def test_web_replaces_the_sample_when_requested_and_else_comes_in_addition() -> None:
    pytest.importorskip("ddgs")
    pytest.importorskip("trafilatura")
    assert names(web=True) == {"calculate"} | WEB
    assert names(web=None) > DATABASE | WEB


def test_web_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ddgs", None)
    assert not names(web=None) & WEB
    with pytest.raises(
        ValueError, match=r"pip install '\.\[web\]' in a clone, or pip install 'PATH/TO/WHEEL\.whl\[web\]'\.$"
    ):
        make_default_tools(web=True)


def test_files_to_write_need_a_folder() -> None:
    with pytest.raises(ValueError, match="'write_files' needs 'files'"):
        make_default_tools(write_files=True)
