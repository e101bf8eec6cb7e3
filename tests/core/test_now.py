"""A deadline that has passed only looks: no spin, no yield, no arithmetic that overflows.

The core is compiled into a program that counts its readings of the clock and its yields, and that
stops at a signed overflow.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

from core.conftest import APART, CSRC
from core.crew import on_one_cpu

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "altsem.h"

static int readings, yields;
int clock_gettime(clockid_t clock, struct timespec *now) {
    readings++;
    return (int)syscall(SYS_clock_gettime, clock, now);
}
int sched_yield(void) {
    yields++;
    return 0;
}

static altsem_segment *segment;
static altsem_slot *slot;
static void make(int type, int64_t maxvalue) {
    if (altsem_slot_new(type, 0, maxvalue, &segment, &slot) != 0) exit(1);
}
static int sem(int64_t deadline) { return altsem_sem_wait(segment, slot, deadline); }
static int lock(int64_t deadline) { return altsem_lock_wait(segment, slot, deadline); }
static int event(int64_t deadline) {
    return altsem_event_wait(segment, slot, altsem_event_now(slot), deadline);
}
static int cond(int64_t deadline) {
    uint32_t ticket;
    altsem_cond_enter(slot, &ticket);
    return altsem_cond_sleep(segment, slot, ticket, deadline);
}
static int barrier(int64_t deadline) {
    uint32_t index, generation;
    altsem_barrier_reset(segment, slot);
    altsem_barrier_arrive(segment, slot, 0, ALTSEM_FOREVER, &index, &generation);
    return altsem_barrier_wait(segment, slot, generation, deadline);
}
static int newcomer(int64_t deadline) {
    uint32_t index, generation;
    for (int i = 0; i < 2; i++)
        altsem_barrier_arrive(segment, slot, 1, ALTSEM_NOW, &index, &generation);
    return altsem_barrier_arrive(segment, slot, 1, deadline, &index, &generation);
}

int main(void) {
    const int64_t deadlines[] = {ALTSEM_NOW, ALTSEM_NOW + 1, -1, 0, 1};
    const struct {
        const char *name;
        int type;
        int64_t maxvalue;
        int (*wait)(int64_t);
    } calls[] = {
        {"sem_wait", ALTSEM_SEM, 1, sem},          {"lock_wait", ALTSEM_LOCK, 1, lock},
        {"event_wait", ALTSEM_EVENT, 0, event},    {"cond_sleep", ALTSEM_COND, 0, cond},
        {"barrier_wait", ALTSEM_BARRIER, 2, barrier},
        {"barrier_arrive", ALTSEM_BARRIER, 2, newcomer},
    };
    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (unsigned j = 0; j < sizeof deadlines / sizeof deadlines[0]; j++) {
            make(calls[i].type, calls[i].maxvalue);
            readings = yields = 0;
            int answer = calls[i].wait(deadlines[j]);
            printf("%s %lld %d %d %d\n", calls[i].name, (long long)deadlines[j],
                   answer == -ETIMEDOUT, readings, yields);
            fflush(stdout);
        }
    return 0;
}
"""


@pytest.mark.parametrize("cpus", ["one", "all"])
def test_a_deadline_that_has_passed_neither_spins_nor_overflows(tmp_path: Path, cpus: str) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, program = tmp_path / "now.c", tmp_path / "now"
    source.write_text(PROGRAM)
    sources = sorted(str(p) for p in CSRC.glob("*/*.c") if p.parent.name not in APART)
    flags = ["-std=c11", "-O1", "-g", "-pthread", "-Wno-unused-result"]
    flags += ["-fsanitize=signed-integer-overflow", "-fsanitize-undefined-trap-on-error"]
    subprocess.run(
        [compiler, *flags, f"-I{CSRC}", "-o", str(program), str(source), *sources], check=True
    )
    with on_one_cpu() if cpus == "one" else contextlib.nullcontext():
        done = subprocess.run([program], capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert (done.returncode, len(lines)) == (0, 30), done
    for name, deadline, timed_out, readings, yields in lines:
        assert (timed_out, yields) == ("1", "0"), (name, deadline)
        assert int(readings) <= (0 if deadline == str(-(2**63)) else 3), (name, deadline)
