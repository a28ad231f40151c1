"""The distribution: what is in it, that it lives beside a host's own folders, and that each Python version takes it."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

import plan_execute

REPOSITORY = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "uv.lock")

SCRIPTED_RUN = """
import sys
from fakes import ScriptedModel, diligent, milestone, plan, synthesis
from plan_execute import create_plan_execute_agent

def look_up(subject: str) -> str:
    '''Look a subject up.'''
    return f"All about {subject}."

heavy = ScriptedModel([plan(milestone("Find x.")), synthesis("Here it is.")])
result = create_plan_execute_agent(heavy, ScriptedModel(diligent), [look_up]).invoke({"messages": [("user", "x?")]})
print(sys.version_info[1], result["status"], result["answer"])
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, so that building leaves nothing behind."""
    return Path(shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("source") / "tree", ignore=LEFT_OUT))


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build("sdist", source, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist as an installer would."""
    [tree] = _unpack(sdist, tmp_path_factory.mktemp("unpacked")).iterdir()
    return _build("wheel", tree, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def host(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with folders of its own called agent and tools, and a venv that has the wheel.

    The dependencies are those of this interpreter. A path file lends them, not the import hook of an editable install.
    """
    project = tmp_path_factory.mktemp("host")
    for folder in ("agent", "tools"):
        (project / folder).mkdir()
        (project / folder / "__init__.py").write_text(f"OWNER = 'host of {folder}'\n")
    venv.create(project / "venv", with_pip=False)
    _uv("pip", "install", "--quiet", "--offline", "--no-deps", "--python", _python(project), wheel)
    [packages] = (project / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return project


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    information = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/"
    assert [name for name in _names(wheel) if not name.startswith(("plan_execute/", information))] == []


def test_wheel_holds_every_source_file(wheel: Path) -> None:
    sources = [REPOSITORY / "__init__.py"]
    for folder in ("agent", "tools", "graphs"):
        sources += (REPOSITORY / folder).rglob("*.py")
    expected = {f"plan_execute/{path.relative_to(REPOSITORY).as_posix()}" for path in sources}
    assert {name for name in _names(wheel) if name.endswith(".py")} == expected


def test_types_are_shipped(wheel: Path) -> None:
    assert "plan_execute/py.typed" in _names(wheel)


def test_types_of_the_front_door_reach_an_application(host: Path, tmp_path: Path) -> None:
    application = tmp_path / "application.py"
    application.write_text(
        "from plan_execute import Context, create_plan_execute_agent\n"
        "reveal_type(create_plan_execute_agent)\n"
        "Context(max_replans='three')\n"
    )
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--python-executable",
        _python(host),
        "--config-file=",
        application,
    ]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert "CompiledStateGraph[" in said
    assert '"Context" has incompatible type "str"; expected "int"' in said
    assert "Found 1 error" in said


def test_sample_documents_are_shipped(wheel: Path) -> None:
    documents = {path.name for path in (REPOSITORY / "tools" / "sample_documents").iterdir()}
    shipped = {Path(name).name for name in _names(wheel) if name.startswith("plan_execute/tools/sample_documents/")}
    assert documents
    assert shipped == documents


def test_sdist_holds_readme_and_license(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml"} <= names


def test_lives_beside_a_hosts_own_folders(host: Path) -> None:
    code = "import agent, tools, plan_execute.agent as a, plan_execute.tools as t; print(agent.OWNER, tools.OWNER)"
    assert _run(host, "-W", "error", "-c", code) == "host of agent host of tools\n"
    assert _run(host, "-c", "import plan_execute.graphs as g; print(g.__file__)").startswith(str(host / "venv"))


@pytest.mark.parametrize("name", ["agent", "tools", "graphs"])
def test_bare_folder_names_are_never_importable(host: Path, name: str) -> None:
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert _run(host, "-I", "-c", code) == "None\n"


def test_sample_documents_are_found_where_installed(host: Path) -> None:
    code = "from plan_execute.tools import *; document_tools(folder := sample_documents()); print(folder)"
    assert _run(host, "-c", code).startswith(str(host / "venv"))


def test_command_is_installed(host: Path) -> None:
    command: list[str | Path] = [host / "venv" / "bin" / "plan-execute", "--version"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == f"plan-execute {plan_execute.__version__}\n"


def test_command_without_its_extra_says_what_to_install(host: Path) -> None:
    blocked = "import sys; sys.modules['rich'] = None; from plan_execute.graphs.cli.main import main; sys.exit(main())"
    done = subprocess.run([_python(host), "-c", blocked, "Hello"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "(rich)" in done.stderr
    assert "pip install '.[cli]'" in done.stderr


# Debian's own is among them because it is old: Debian 12 has 3.11.2.
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "/usr/bin/python3.11"])
def test_installs_and_runs_on(python: str, source: Path, tmp_path: Path) -> None:
    kept_by_pyenv = sorted(Path.home().glob(f".pyenv/versions/{python}.*/bin/python"))
    interpreter = kept_by_pyenv[-1] if kept_by_pyenv else python
    try:
        _uv("venv", "--quiet", "--no-python-downloads", "--python", interpreter, tmp_path / "venv")
    except subprocess.CalledProcessError:
        pytest.skip(f"no Python {python} on this machine")
    _uv("pip", "install", "--quiet", "--python", _python(tmp_path), source)
    shutil.copy(REPOSITORY / "tests" / "fakes.py", tmp_path)
    assert _run(tmp_path, "-W", "error", "-c", SCRIPTED_RUN) == f"{python[-2:]} completed Here it is.\n"


def _build(kind: str, tree: Path, out: Path) -> Path:
    """Build by the hook of PEP 517, with the setuptools that is here."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(out)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
    [built] = out.iterdir()
    return built


def _unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        if hasattr(tarfile, "data_filter"):  # from Python 3.11.4 on
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return folder


def _names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


def _python(project: Path) -> Path:
    return project / "venv" / "bin" / "python"


def _uv(*arguments: str | Path) -> None:
    subprocess.run([find_uv_bin(), *arguments], check=True, capture_output=True)


def _run(project: Path, *arguments: str) -> str:
    done = subprocess.run([_python(project), *arguments], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
