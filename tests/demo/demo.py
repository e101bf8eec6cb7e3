"""Runs program.py where /dev/shm is gone: natively, then with altsem's contexts, one line added.

Exit status 0 only if the native run failed for want of a semaphore and all others printed their
squares.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
BED = HERE.parent / "beds" / "shm"
PROGRAM = (HERE / "program.py").read_text()
FIRST_LINE = "import multiprocessing\n"
CONTEXT_LINE = "import altsem; multiprocessing = multiprocessing.get_context({!r})\n"
CONTEXTS = ("altsem", "altsem-fork", "altsem-spawn", "altsem-forkserver")
EXPECTED = "[1, 4, 9, 16]"
NO_NAMESPACE = 125  # what the bed answers then
SECONDS = 60
# An interpreter built without semaphores; sem_open in its various misfortunes.
REFUSALS = ("ImportError:", "OSError:", "FileNotFoundError:", "PermissionError:")

# In place of a missing /dev/shm where none can be arranged: the error that sem_open gives there.
SIMULATION = """\
import _multiprocessing

class SemLock(_multiprocessing.SemLock):
    def __new__(cls, *args, **kwargs):
        raise FileNotFoundError(2, "No such file or directory")

_multiprocessing.SemLock = SemLock
"""


def run(program: Path, env: dict[str, str]) -> tuple[bool, str]:
    """Whether the program ended well and without a complaint, and the last line that it printed."""
    command = [sys.executable, str(program)]
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"still running after {SECONDS} s"
    # A complaint of the resource tracker does not change the exit status, and is a failure here.
    said = (done.stderr or done.stdout).strip()
    last = said.splitlines()[-1] if said else f"nothing; exit status {done.returncode}"
    return done.returncode == 0 and not done.stderr, last


def demonstrate(folder: Path, env: dict[str, str]) -> bool:
    print(PROGRAM)
    native = folder / "native.py"
    native.write_text(PROGRAM)
    worked, said = run(native, env)
    print(f"  {'as it is':<20}{said}")
    good = not worked
    if worked:
        print("  The native run was to fail: this shows nothing.")
    elif not said.startswith(REFUSALS):
        print("  The native run failed, but not for want of a semaphore.")
        good = False
    print(f"\nafter its first line: {CONTEXT_LINE.format('…')}")
    for context in CONTEXTS:
        program = folder / f"with-{context}.py"
        assert PROGRAM.startswith(FIRST_LINE)
        program.write_text(
            PROGRAM.replace(FIRST_LINE, FIRST_LINE + CONTEXT_LINE.format(context), 1)
        )
        worked, said = run(program, env)
        print(f"  {context:<20}{said}")
        good = good and worked and said == EXPECTED
    return good


def main(arguments: list[str]) -> int:
    if not arguments and Path("/dev/shm").exists():
        # The namespace is entered by a program of its own, and this one is run again inside it.
        status = subprocess.call([str(BED), "gone", sys.executable, __file__, "namespace"])
        return main(["simulated"]) if status == NO_NAMESPACE else status
    env = dict(os.environ)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments != ["simulated"]:
            assert not Path("/dev/shm").exists()
            where = "in a mount namespace of this demo's own" if arguments else "on this machine"
            print(f"There is no /dev/shm here, {where}.\n")
        else:
            print("No mount namespace is permitted here, so a missing /dev/shm is simulated:")
            print("the native SemLock raises the error that it raises there.\n")
            (folder / "sitecustomize.py").write_text(SIMULATION)
            paths = [name, *filter(None, [env.get("PYTHONPATH")])]
            env["PYTHONPATH"] = os.pathsep.join(paths)
        good = demonstrate(folder, env)
    print("\n" + ("It works." if good else "It does not work."))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
