"""The tools that the command line and the server use by default: a calculator, and access to the data named."""

from collections.abc import Sequence
from importlib.util import find_spec

from langchain_core.tools import BaseTool

from plan_execute import tools
from plan_execute.tools.messages import INSTALL_WEB


def make_default_tools(
    db: str | None = None,
    docs: str | None = None,
    *,
    web: bool | None = None,
    data: Sequence[str] | None = None,
    files: str | None = None,
    write_files: bool = False,
    own: Sequence[BaseTool] = (),
) -> list[BaseTool]:
    """Create tools for the data named, or for the database and documents of a sample shop if none are named.

    Args:
        db: A SQLAlchemy URL or the path of a SQLite file.
        docs: A folder of documents, or one document.
        web: Whether to search the web and read pages. True also counts as data named, so that there is no sample;
            None adds the web to the other data if its packages are installed.
        data: Paths of CSV, TSV, JSON, Parquet or spreadsheet files. Beside `db` the names of their tools begin with
            "data_".
        files: A folder whose files are listed, read and searched.
        write_files: Whether they are also written.
        own: Tools of yours, such as those of MCP servers; they count as data named, too.

    Returns:
        The calculator, the tools for each kind of data, and your own.

    Raises:
        ValueError: What `db`, `data`, `docs` or `files` names does not exist, or `web` is True and its packages are not
            installed. The message is one sentence.
    """
    if write_files and not files:
        raise ValueError("'write_files' needs 'files', the folder whose files may be changed.")
    sample = not (db or data or docs or files or web or own)
    chosen: list[BaseTool] = [tools.calculate]
    if db or sample:
        chosen += tools.database_tools(db or tools.sample_database())
    if data:
        chosen += tools.database_tools(data, prefix="data_" if db else "")
    if docs or sample:
        chosen += tools.document_tools(docs or tools.sample_documents(), outline=not docs)
    if files:
        chosen += tools.file_tools(files, write=write_files)
    can_browse = bool(find_spec("ddgs") and find_spec("trafilatura"))
    if web and not can_browse:
        raise ValueError(f"The web tools need more packages: {INSTALL_WEB}.")
    if can_browse and web is not False:
        chosen += [tools.search_web, tools.read_page]
    return [*chosen, *own]
