"""What is shipped, and what the files of the project say of each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib import metadata
from pathlib import Path

import pytest

import altsem

ROOT = Path(__file__).resolve().parents[2]
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def project_files() -> list[Path]:
    """The files of the project: those git knows, or in an unpacked archive those that are there."""
    try:
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split("\0")
        found = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        made = {".git", ".venv", ".pytest_cache", ".ruff_cache", "build", "dist", "__pycache__"}
        found = [p for p in ROOT.rglob("*") if not made & set(p.relative_to(ROOT).parts)]
    return [p for p in found if p.is_file() and p.suffix not in {".so", ".pyc"}]


def targets() -> set[str]:
    return set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_nothing_is_required_at_run_time() -> None:
    requirements = metadata.requires("altsem") or []
    assert requirements, "the extras should be listed"
    assert [r for r in requirements if "extra ==" not in r] == []


def test_tested_is_the_installed_package_not_the_tree() -> None:
    assert not Path(altsem.__file__).is_relative_to(ROOT / "src")


def test_type_information_is_shipped() -> None:
    folder = Path(altsem.__file__).parent
    assert (folder / "py.typed").is_file()
    stubs = {p.name for p in (ROOT / "src" / "altsem").glob("*.pyi")}
    assert "_core.pyi" in stubs
    assert {p.name for p in folder.glob("*.pyi")} == stubs


def test_one_version() -> None:
    text = (ROOT / "src" / "altsem" / "_version.py").read_text()
    assert f'__version__ = "{altsem.__version__}"' in text
    assert metadata.version("altsem") == altsem.__version__


@pytest.mark.skipif(FREE_THREADED, reason="free-threaded CPython has no stable ABI before 3.15")
def test_built_for_the_stable_abi() -> None:
    from altsem import _core

    assert Path(_core.__file__).name == "_core.abi3.so"
    wheel = metadata.distribution("altsem").read_text("WHEEL") or ""
    assert re.search(r"^Tag: cp310-abi3-", wheel, flags=re.MULTILINE)


def test_only_the_binding_knows_python() -> None:
    core = [p for p in sorted((ROOT / "csrc").rglob("*.[ch]")) if p.parent.name != "binding"]
    assert core
    assert [p.name for p in core if "Python.h" in p.read_text()] == []
    assert any("Python.h" in p.read_text() for p in (ROOT / "csrc" / "binding").glob("*.[ch]"))


def test_commands_of_the_readme_exist() -> None:
    named = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), flags=re.MULTILINE))
    assert {"demo", "test"} <= named <= targets()


def test_links_between_documents_lead_somewhere() -> None:
    links = [
        (document.relative_to(ROOT), target)
        for document in project_files()
        if document.suffix == ".md"
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text())
        if "://" not in target
    ]
    assert len(links) > 20
    assert [pair for pair in links if not (ROOT / pair[0].parent / pair[1]).exists()] == []


def test_make_help_names_every_target() -> None:
    said = subprocess.run(
        ["make", "-s", "help", f"PYTHON={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {line.split()[0] for line in said.splitlines()} == targets()


def test_no_file_names_a_place_of_one_machine() -> None:
    # Assembled, or this file would find itself.
    places = re.compile("|".join(rf"(?<![\w.~}}])/{name}\b" for name in ("work", "root", "home")))
    files = project_files()
    assert len(files) > 30
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        for line in path.read_text(errors="replace").splitlines()  # the corpus of `make fuzz`
        if places.search(line)
    ]
    assert found == []


def test_source_archive_is_complete(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in project_files():
        target = tree / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    build = "import setuptools.build_meta as b, sys; b.build_sdist(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=tree, check=True, capture_output=True
    )
    (archive,) = tmp_path.glob("altsem-*.tar.gz")
    with tarfile.open(archive) as opened:
        packed = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {str(path.relative_to(ROOT)) for path in project_files()}
    # What only matters in a checkout stays there.
    wanted = {name for name in wanted if not name.startswith((".ci/", "docs/"))}
    assert wanted - {".gitignore", ".editorconfig"} <= packed


def test_importing_it_imports_little() -> None:
    """Not `typing`, which would take longer than all the rest, when multiprocessing is there."""
    code = (
        "import sys, multiprocessing; before = set(sys.modules); import altsem; "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    foreign = [name for name in done.stdout.split() if name.partition(".")[0] != "altsem"]
    assert set(foreign) <= {"__future__", "_multiprocessing"}
