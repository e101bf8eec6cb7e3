"""The list of open semaphores in the child of a fork, whoever was busy with it in the parent."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from preload.agents import HERE, compiled

CSRC = HERE.parents[1] / "csrc"
LINKED = (
    "names/private.c",
    "memory/directory.c",
    "process/clock.c",
    "process/owner.c",
    "process/proc.c",
)
# A thread that holds the lock, which the child does not have.
PROGRAM = """
#define _GNU_SOURCE
#include "preload/posix_sem.c"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

int main(int argc, char **argv) {
    (void)argv;
    lock();
    if (argc > 1 && unshare(CLONE_NEWPID) != 0) return perror("unshare"), 1;
    int mine = (int)getpid();
    pid_t child = fork();
    if (child == 0) {
        lock();
        unlock();
        _exit((int)getpid() == mine ? 2 : 0);
    }
    for (int i = 0; i < 10000; i++) {
        int status;
        if (waitpid(child, &status, WNOHANG) == child) {
            printf("%d\\n", WEXITSTATUS(status));
            return 0;
        }
        usleep(1000);
    }
    kill(child, SIGKILL);
    return 1;
}
"""


@pytest.mark.parametrize("namespace", [False, True], ids=["fork", "same pid"])
def test_a_child_waits_for_no_thread_that_it_does_not_have(tmp_path: Path, namespace: bool) -> None:
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    flags = ["-std=gnu11", f"-I{CSRC}", *(str(CSRC / name) for name in LINKED)]
    program = compiled(source, tmp_path / "program", *flags)
    words = [program]
    if namespace:
        words = ["unshare", "--pid", "--fork", "--kill-child", program, "namespace"]
        if subprocess.run([*words[:4], "true"], capture_output=True).returncode:
            pytest.skip("no PID namespaces here")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    # 2: the child had the number of its parent, or nothing would be shown.
    assert (done.returncode, done.stdout) == (0, "2\n" if namespace else "0\n"), done.stderr
