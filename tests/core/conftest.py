"""The core without Python around it: the same C files, called through cffi, which drops the GIL."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import cffi
import pytest

from core.crew import Crew, load
from core.kit import Kit
from core.patient import BACKENDS, Gather, People, without_slices

CSRC = Path(__file__).resolve().parents[2] / "csrc"
# Rooms that are no part of the core.
APART = ("binding", "preload")

# Not in the public header, but promises of their own: the wait contract, and who is who.
INTERNAL = """
enum altsem_which { ALTSEM_WORD = 0, ALTSEM_WORD2 = 1 };
int altsem_sleep(altsem_segment *, altsem_slot *, enum altsem_which, uint32_t, int64_t);
void altsem_wake(altsem_segment *, altsem_slot *, enum altsem_which, uint32_t);
int64_t altsem_clock(void);
unsigned altsem_cpus(void);
void altsem_cpus_forget(void);
double altsem_cpu_quota(const char *mount, const char *membership);
typedef struct { uint64_t id; uint32_t token, generation; ...; } altsem_thread;
const altsem_thread *altsem_self(void);
uint64_t altsem_process_id(void);
uint64_t altsem_id_from(uint32_t pid, uint32_t start, uint32_t pid_namespace);
uint32_t altsem_pid_namespace(void);
uint32_t altsem_generation(void);
int altsem_watch_forks(void);
typedef struct { char state; uint32_t threads, start; } altsem_seen;
int altsem_proc_look(const char *name, altsem_seen *seen);
int altsem_private_directory(const char *candidate, int create);
const char *altsem_directory(unsigned i);
int altsem_segment_reopen(const altsem_segment *);
char *start_of(const altsem_segment *);
extern void (*after_unlock)(void);
typedef struct altsem_sleeps {
    uint64_t ended[6]; int32_t last; int64_t slice_end; uint64_t wakes;
} altsem_sleeps;
const altsem_sleeps *altsem_test_sleeps(int forget);
"""
# Of the tests themselves.  Built with -DTELL_UNLOCK, the core tells them when it has unlocked its
# mutex: what another thread might do at that moment is then done by the same one.
HELPERS = """
static char *start_of(const altsem_segment *segment) { return (char *)segment->header; }
static void (*after_unlock)(void);
#ifdef TELL_UNLOCK /* and -Wl,--wrap=altsem_mutex_unlock */
void __real_altsem_mutex_unlock(void);
void __wrap_altsem_mutex_unlock(void) {
    __real_altsem_mutex_unlock();
    if (after_unlock) after_unlock();
}
#endif
"""
HEADERS = (
    "names/private", "process/clock", "process/fork", "process/proc", "wait/cpus", "wait/testing",
    "wait/wait",
)  # fmt: skip
# csrc/wait/testing.h says what a test build has that a shipped one has not.
FLAGS = ("-std=c11", "-O2", "-g", "-fvisibility=hidden", "-DALTSEM_TEST_BUILD")
# Where the fields stand: tests damage them, and look at what no function tells.
FIELDS = {
    "slot": (
        "struct altsem_slot",
        "word holder again state maxvalue born word2 current joining tripped_since next",
    ),
    "header": (
        "altsem_header",
        "magic layout backend id size slots pid_namespace maker slot_bytes foreign",
    ),
}
OFFSETS = {
    f"at_{owner}_{field}": f"offsetof({struct}, {field})"
    for owner, (struct, fields) in FIELDS.items()
    for field in fields.split()
}


def compiled(cdef: str, source: str, folder: Path, *flags: str) -> ModuleType:
    """A module by itself, of C code that includes files of the core."""
    ffi = cffi.FFI()
    ffi.cdef(cdef)
    ffi.set_source(
        "_altsem_core",
        source,
        include_dirs=[str(CSRC), str(Path(__file__).parent)],
        extra_compile_args=["-std=c11", "-O2", "-g", *flags],
    )
    return load(Path(ffi.compile(tmpdir=str(folder))))


def declarations(header: str) -> str:
    """What cffi has to know, taken from the header itself so that the two cannot drift apart."""
    text = re.sub(r"/\*.*?\*/", " ", header, flags=re.DOTALL)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    constants = []
    for name, value in re.findall(r"^#define (\w+)[ \t]+(\S.*?)[ \t]*$", text, flags=re.MULTILINE):
        # cffi reads plain numbers, which array bounds need, and asks the compiler about the rest.
        constants.append(f"#define {name} {value if value.isdigit() else '...'}")
    return "\n".join([*constants, re.sub(r"^#.*$", "", text, flags=re.MULTILINE)])


def interface() -> cffi.FFI:
    ffi = cffi.FFI()
    ffi.cdef(declarations((CSRC / "altsem.h").read_text()) + INTERNAL)
    ffi.cdef("\n".join(f"#define {name} ..." for name in OFFSETS))
    ffi.set_source(
        "_altsem_core",
        # The last line is for the code that cffi writes; ours is compiled without it.
        "".join(f'#include "{name}.h"\n' for name in HEADERS)
        + "".join(f"#define {name} {value}\n" for name, value in OFFSETS.items())
        + HELPERS
        +        '#pragma GCC diagnostic ignored "-Wunused-parameter"\n'
        '#pragma GCC diagnostic ignored "-Wmissing-field-initializers"\n',
        sources=sorted(str(p) for p in CSRC.glob("*/*.c") if p.parent.name not in APART),
        include_dirs=[str(CSRC)],
        extra_compile_args=[*FLAGS, "-Wall", "-Wextra", "-Werror"],
        extra_link_args=["-pthread"],
    )  # fmt: skip
    return ffi


def build(folder: Path) -> Path:
    return Path(interface().compile(tmpdir=str(folder)))


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The core: `core.lib.altsem_sem_try(slot)`, `core.ffi.new("altsem_slot **")`."""
    built = os.environ.get("ALTSEM_TEST_CORE")  # by `make mutants`, which builds many
    return load(built or build(tmp_path_factory.mktemp("core")))


@pytest.fixture
def kit(core: ModuleType) -> Iterator[Kit]:
    """Makes primitives, and gives back at the end what the test did not."""
    kit = Kit(core)
    yield kit
    kit.close()


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Processes and threads of a test; none outlives it."""
    crew = Crew()
    yield crew
    crew.close()


@pytest.fixture(scope="session")
def _patient_kits(
    core: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Kit]:
    # Each once, in whatever order they are asked for: few such libraries fit into a process.
    folder = tmp_path_factory.mktemp("copies")
    return functools.cache(lambda backend: without_slices(core, backend, folder))


@pytest.fixture(params=BACKENDS)
def patient(request: pytest.FixtureRequest, _patient_kits: Callable[[str], Kit]) -> Iterator[Kit]:
    """As `kit`, where slices never end and nobody spins."""
    kit = _patient_kits(request.param)
    yield kit
    kit.close()


@pytest.fixture(params=["processes", "threads"])
def gather(request: pytest.FixtureRequest, crew: Crew) -> Gather:
    """Starts processes, or threads, that do the works it is given."""
    return lambda *works: People(crew, request.param, list(works))


@pytest.fixture
def program(
    core: ModuleType, run_script: Callable[..., object], request: pytest.FixtureRequest
) -> Callable[..., str]:
    """Runs `code` in an interpreter where the core has not been used yet; returns what it printed.

    The code finds `lib`, `ffi`, `kit`, `core` and the modules beside this file.
    """
    head = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from core.crew import *; from core.kit import *; from core.sandbox import *\n"
        f"core = load({core.__file__!r}); lib, ffi, kit = core.lib, core.ffi, Kit(core)\n"
    )

    def run(code: str, *args: object, env: Mapping[str, str] | None = None) -> str:
        done = run_script(head + code, *args, env=env)
        assert (done.returncode, done.stderr) == (0, ""), done  # type: ignore[attr-defined]
        return done.stdout  # type: ignore[attr-defined, no-any-return]

    return run
