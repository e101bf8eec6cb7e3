"""Programs that are started with the library and that it is not for, or not quite."""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem.dropin import preload
from preload.agents import BED, HERE, PRELOAD, Agent, Beds, compiled

ROOT = HERE.parents[1]
ENTRY = preload.entry()
glibc = pytest.mark.skipif("$LIB" not in ENTRY, reason="no glibc whose directories are known")
# A program for the kernel alone, but for its dynamic linker.
NARROW = """
asm(".globl _start\\n_start: movl $1, %eax; xorl %ebx, %ebx; int $0x80");
"""
NARROW_LINKER = "/lib/ld-linux.so.2"
NOTHING = "int main(void) { return 0; }\n"
NAMES = (
    ("sem_open", "/altsem-tests-musl", "cx", 0o600, 3),
    ("sem_value", 0),
    ("shm_open", "/altsem-tests-musl", "wcx", 0o600),
    ("sem_unlink", "/altsem-tests-musl"),
    ("shm_unlink", "/altsem-tests-musl"),
)


def said(*words: str, library: str = ENTRY) -> tuple[int, str, str]:
    done = subprocess.run(
        words, env={"PATH": os.defpath, "LD_PRELOAD": library}, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def made(folder: Path, text: str, *flags: str, compiler: str = "cc") -> str:
    source = folder / "program.c"
    source.write_text(text)
    if not dropin.tool(compiler):
        pytest.skip(f"no {compiler}")
    words = [compiler, "-o", str(folder / "program"), str(source), *flags]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot be compiled here: {done.stderr.splitlines()[-1]}")
    return str(folder / "program")


def test_a_program_of_this_machine_loads_it() -> None:
    program = "import sys; print(any('_preload.so' in line for line in open('/proc/self/maps')))"
    assert said("/usr/bin/env", "python3", "-c", program)[1:] == ("True\n", "")
    assert said("true", library=PRELOAD) == (0, "", "")


@glibc
@pytest.mark.skipif(platform.machine() != "x86_64", reason="of another machine")
@pytest.mark.skipif(not os.path.exists(NARROW_LINKER), reason="no dynamic linker of 32 bits")
def test_a_child_of_32_bits_goes_on_in_silence(tmp_path: Path) -> None:
    flags = ("-m32", "-nostdlib", "-pie", "-fPIE", f"-Wl,-dynamic-linker,{NARROW_LINKER}")
    program = made(tmp_path, NARROW, *flags)
    assert "wrong ELF class" in said(program, library=PRELOAD)[2], "or it shows nothing"
    assert said(program) == (0, "", "")


@glibc
def test_a_child_for_another_machine_goes_on_in_silence(tmp_path: Path) -> None:
    compiler, emulator = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
    if platform.machine() != "x86_64" or not dropin.tool(emulator):
        pytest.skip(f"no {emulator}")
    program = made(tmp_path, NOTHING, compiler=compiler)
    words = (emulator, "-L", "/usr/aarch64-linux-gnu", program)
    assert "cannot be preloaded" in said(*words, library=PRELOAD)[2], "or it shows nothing"
    assert said(*words) == (0, "", "")


def test_a_static_child_goes_on_in_silence(tmp_path: Path) -> None:
    program = made(tmp_path, NOTHING, "-static")
    assert said(program) == said(program, library=PRELOAD) == (0, "", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes programs of another user's")
def test_a_child_with_another_users_rights_goes_on_in_silence_and_without_it() -> None:
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        program = made(
            Path(folder),
            "#include <stdio.h>\n#include <stdlib.h>\n#include <sys/auxv.h>\n"
            'int main(void) { printf("%d %d\\n", getauxval(AT_SECURE) != 0,'
            ' getenv("LD_PRELOAD") != 0); return 0; }\n',
        )
        library = shutil.copy(PRELOAD, folder)
        shutil.chown(program, "nobody")
        os.chmod(program, 0o4755)
        assert said(program) == said(program, library=library) == (0, "1 0\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_after_a_change_of_user_names_are_the_new_users(agent: str) -> None:
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        library, program = shutil.copy(PRELOAD, folder), shutil.copy(agent, folder)
        before = [BED, "gone", "setpriv", "--reuid", "nobody", "--clear-groups"]
        other = Agent(program, Path(folder), preload=library, before=before)
        assert other("sem_open", "/altsem-tests", "cx", 0o600, 3) == 0
        (private,) = Path(folder).glob("altsem-*")
        assert private.owner() == "nobody"
        assert other("sem_unlink", "/altsem-tests") == 0
        assert other.end() == ""


@pytest.mark.parametrize("library", [PRELOAD, ENTRY], ids=["itself", "of run"])
def test_a_library_for_one_libc_serves_programs_of_another(
    tmp_path: Path, beds: Beds, library: str
) -> None:
    beds.preload = library
    if not dropin.tool("musl-gcc") or dropin.bed_excuse():
        pytest.skip("no musl-gcc, or no bed")
    beds.program = made(tmp_path, (HERE / "agent.c").read_text(), compiler="musl-gcc")
    agent = beds("gone")
    assert [agent(*words) for words in NAMES] == [0, 3, 3, 0, 0]
    # What one libc has made, the other does not touch: they do not agree on what a sem_t is.
    agent(*NAMES[0])
    beds.program = compiled(HERE / "agent.c", tmp_path / "other")
    assert beds("gone")("sem_open", NAMES[0][1], "", 0, 0) == "EINVAL"
    assert agent("sem_unlink", NAMES[0][1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_another_users_thing_is_known_by_the_name_that_this_libc_gives_it(tmp_path: Path) -> None:
    if not dropin.tool("musl-gcc") or dropin.bed_excuse():
        pytest.skip("no musl-gcc, or no bed")
    name = f"/altsem-tests-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        os.chmod(folder, 0o777)
        program = made(Path(folder), (HERE / "agent.c").read_text(), compiler="musl-gcc")
        os.chmod(program, 0o755)
        beds = Beds(program, Path(folder))
        beds.preload = shutil.copy(PRELOAD, folder)
        with beds.ended():
            root, nobody = beds(preload=None), beds(user="nobody")
            assert root("sem_open", name, "cx", 0o600, 1) == 0
            try:
                assert nobody("sem_open", name, "c", 0o600, 1) == "EACCES"
                assert nobody("sem_unlink", name) in ("EACCES", "EPERM")
            finally:
                assert root("sem_unlink", name) == 0


@pytest.mark.parametrize("compiler", ["musl-gcc", "aarch64-linux-gnu-gcc"])
def test_it_can_be_built_elsewhere_and_works_there(
    tmp_path: Path, compiler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulated = compiler.startswith("aarch64")
    emulator = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"] if emulated else []
    if not dropin.tool(compiler) or (emulated and not dropin.tool(emulator[0])):
        pytest.skip(f"no {compiler}")
    if dropin.bed_excuse():
        pytest.skip(dropin.bed_excuse())
    library = str(tmp_path / "_preload.so")
    flags = ["-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
    flags.append("-DALTSEM_PRELOAD_LIBRARY")
    values = settings(monkeypatch)
    sources = [*sorted((ROOT / "csrc" / "preload").glob("*.c")), *values["PRELOADED"]]
    words = [compiler, *flags, "-shared", f"-I{ROOT / 'csrc'}", "-o", library, *map(str, sources)]
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
    program = made(tmp_path, (HERE / "agent.c").read_text(), compiler=compiler)
    before = [BED, "gone", *emulator]
    if emulated:
        # The emulator's own linker is not to be told.
        before += ["-E", f"LD_PRELOAD={library}", "-E", f"ALTSEM_DIR={tmp_path}"]
        agent = Agent(program, tmp_path, before=before, preload=None, direct=True)
    else:
        agent = Agent(program, tmp_path, before=before, preload=library)
    assert [agent(*words) for words in NAMES] == [0, 3, 3, 0, 0]
    assert agent.end() == ""


def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What setup.py defines."""
    import setuptools

    monkeypatch.setattr(setuptools, "setup", lambda **_: None)
    monkeypatch.chdir(ROOT)
    return runpy.run_path(str(ROOT / "setup.py"))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="of other machines")
def test_the_empty_library_is_one_that_the_dynamic_linker_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = settings(monkeypatch)
    path = tmp_path / "empty.so"
    number, wide, _ = values["MACHINES"][platform.machine()]  # type: ignore[index]
    path.write_bytes(values["empty_library"](number, wide))  # type: ignore[operator]
    assert said("cat", "/proc/self/maps", library=str(path))[2] == ""
    assert str(path) in said("cat", "/proc/self/maps", library=str(path))[1]
    stack = [line for line in said("cat", "/proc/self/maps")[1].splitlines() if "[stack]" in line]
    with_it = said("cat", "/proc/self/maps", library=str(path))[1]
    assert [line.split()[1] for line in with_it.splitlines() if "[stack]" in line] == [
        line.split()[1] for line in stack
    ], "stacks must not become executable"
