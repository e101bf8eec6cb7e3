"""A copy of the package without the file that starts altsem in children says so; one that is built
as packages are built has it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

import altsem
import dropin_support as dropin

PROGRAM = """
import acme._vendor.altsem as altsem
import multiprocessing

def child(lock, values):
    import _multiprocessing
    with lock:
        values.put(_multiprocessing.SemLock.__module__)

if __name__ == "__main__":
    assert altsem.install(force=True)
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        lock, values = context.Lock(), context.SimpleQueue()
        process = context.Process(target=child, args=(lock, values))
        process.start()
        process.join()
        assert process.exitcode == 0, process.exitcode
        print(values.get())
"""
SETUP = """
from setuptools import find_packages, setup
setup(name="acme", version="1", packages=find_packages(),
      package_data={"acme._vendor.altsem": ["*.so"]})
"""


@pytest.fixture
def broken(tmp_path: Path) -> tuple[str, Path]:
    """An interpreter in whose copy of the package the file is missing, and that file."""
    python = dropin.make_python(tmp_path / "venv")
    site = dropin.site_of(tmp_path / "venv")
    # Found before the sound one.
    (site / "a-others.pth").rename(site / "z-others.pth")
    shutil.copytree(Path(altsem.__file__).parent, site / "altsem")
    shutil.rmtree(site / "altsem" / "dropin" / "bootstrap")
    return python, site / "altsem" / "dropin" / "bootstrap" / "sitecustomize.py"


@pytest.mark.parametrize("force", [True, False])
def test_install_of_a_copy_without_the_file_is_a_clear_error_and_changes_nothing(
    force: bool, broken: tuple[str, Path]
) -> None:
    python, file = broken
    code = textwrap.dedent(
        f"""
        import altsem, os, _multiprocessing as m
        before = dict(os.environ), vars(m).get("SemLock")
        try:
            altsem.install(force={force})
        except FileNotFoundError as error:
            print(error)
        assert before == (dict(os.environ), vars(m).get("SemLock"))
        """
    )
    done = dropin.run(python, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(file) in done.stdout and "not whole" in done.stdout


@pytest.mark.parametrize("words", [("run", "-c", "print(1)"), ("run", "--force", "-c", "print(1)")])
def test_run_of_a_copy_without_the_file_is_a_clear_error(
    words: tuple[str, ...], broken: tuple[str, Path]
) -> None:
    python, file = broken
    done = dropin.run(python, "-m", "altsem", *words)
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    assert str(file) in done.stderr and "not whole" in done.stderr


def test_enable_of_a_copy_without_the_file_is_a_clear_error_and_writes_nothing(
    broken: tuple[str, Path],
) -> None:
    python, file = broken
    site = file.parents[3]
    before = sorted(site.iterdir())
    done = dropin.run(python, "-m", "altsem", "enable", "--site", site)
    assert (done.returncode, done.stdout) == (1, "") and "Traceback" not in done.stderr
    assert str(file) in done.stderr and "not whole" in done.stderr
    assert sorted(site.iterdir()) == before


def test_a_vendored_copy_built_with_find_packages_has_the_file_and_reaches_its_children(
    tmp_path: Path,
) -> None:
    project = tmp_path / "project"
    vendor = project / "acme" / "_vendor"
    vendor.mkdir(parents=True)
    for folder in (vendor.parent, vendor):
        (folder / "__init__.py").touch()
    (project / "setup.py").write_text(SETUP)
    package = Path(altsem.__file__).parent
    shutil.copytree(package, vendor / "altsem", ignore=shutil.ignore_patterns("__pycache__"))
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel", "--dist-dir", str(tmp_path)],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("acme-*.whl")
    python = dropin.make_python(tmp_path / "venv")
    site = dropin.site_of(tmp_path / "venv")
    (site / "a-others.pth").unlink()  # no other copy to fall back on
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = dropin.run(python, program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "acme._vendor.altsem._core\n" * 2, "")
    for bed in ("gone", ""):
        words = ("-m", "acme._vendor.altsem", "run", "--force")
        done = dropin.run(python, *words, program, bed=bed)
        expected = (0, "acme._vendor.altsem._core\n" * 2, "")
        assert (done.returncode, done.stdout, done.stderr) == expected
