"""Which container or sandbox this is: a table of signs.

The order is that of the remedies: where several apply (a Docker image run by Apptainer, a sandboxed
agent in a Kubernetes pod), the first one that has a remedy is the one whose command line the user
types.  Another kind is one more entry.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .mounts import mounts

if TYPE_CHECKING:
    from collections.abc import Callable

    from .machine import Machine

    # What gives it away, in words; None if there is no such sign.
    Sign = Callable[[Machine], "str | None"]


@dataclass(frozen=True)
class Kind:
    """A kind of surroundings: any one sign is enough."""

    name: str
    title: str
    signs: tuple[Sign, ...]


@dataclass(frozen=True)
class Surrounding:
    """One that was recognised, and by what."""

    name: str
    title: str
    evidence: tuple[str, ...]


def env(name: str, value: str | None = None) -> Sign:
    """The variable is set, to `value` or to a text that begins with it."""

    def sign(machine: Machine) -> str | None:
        found = machine.env.get(name)
        if not found or not found.startswith(value or ""):
            return None
        return f"${name}={found}"

    return sign


def there(path: str) -> Sign:
    """The file exists."""

    def sign(machine: Machine) -> str | None:
        return path if machine.exists(path) else None

    return sign


def says(path: str, *texts: str) -> Sign:
    """The file contains one of the texts."""

    def sign(machine: Machine) -> str | None:
        content = machine.text(path, 1 << 16) or ""
        found = [text for text in texts if text in content]
        return f"{path} says {found[0]!r}" if found else None

    return sign


def first_process(*names: str) -> Sign:
    """Process 1 is one of those programs."""

    def sign(machine: Machine) -> str | None:
        name = (machine.text("/proc/1/comm") or "").strip()
        return f"process 1 is {name}" if name in names else None

    return sign


def traced_by(name: str) -> Sign:
    """The tracer of this process is that program."""

    def sign(machine: Machine) -> str | None:
        tracer = machine.field("/proc/self/status", "TracerPid") or "0"
        if tracer == "0":
            return None
        found = (machine.text(f"/proc/{tracer}/comm") or "").strip()
        return f"traced by {found}" if found.startswith(name) else None

    return sign


def no_root_mount(machine: Machine) -> str | None:
    """Nothing is mounted on / as this process sees it: it is in a changed root."""
    points = {mount.point for mount in mounts(machine)}
    return "no mount on / in /proc/self/mountinfo" if points and "/" not in points else None


def openvz(machine: Machine) -> str | None:
    if machine.exists("/proc/vz") and not machine.exists("/proc/bc"):
        return "/proc/vz without /proc/bc"
    return None


_APPTAINER = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "APPTAINER_NAME", "SINGULARITY_NAME")


def apptainer_without_dev(machine: Machine) -> str | None:
    """Apptainer that mounts no /dev, so the image's own is there, and refuses binds into it."""
    name = next(filter(machine.env.get, _APPTAINER), None)
    points = {mount.point for mount in mounts(machine)}
    if name and points and "/dev" not in points and "/dev/shm" not in points:
        return f"${name}={machine.env[name]}, and no mount on /dev"
    return None


def bare_dev(machine: Machine) -> str | None:
    """/dev is the kernel's, with nothing mounted below it: a micro virtual machine's init."""
    found = {mount.point: mount.type for mount in mounts(machine)}
    if found.get("/dev") == "devtmpfs" and not machine.exists("/dev/shm"):
        return "/dev is a bare devtmpfs"
    return None


KINDS: tuple[Kind, ...] = (
    Kind(
        "lambda",
        "AWS Lambda",
        (env("AWS_LAMBDA_FUNCTION_NAME"), env("AWS_EXECUTION_ENV", "AWS_Lambda")),
    ),
    Kind(
        "termux",
        "Termux",
        (env("TERMUX_VERSION"), env("PREFIX", "/data/data/com.termux")),
    ),
    Kind("android", "Android", (env("ANDROID_ROOT"), there("/system/build.prop"))),
    # Agents first among the sandboxes: they run inside of all the others.
    Kind(
        "codex",
        "the sandbox of the Codex coding agent",
        (env("CODEX_SANDBOX"), env("CODEX_SANDBOX_NETWORK_DISABLED")),
    ),
    Kind(
        "claude",
        "the sandbox of the Claude Code coding agent",
        (env("SANDBOX_RUNTIME"), env("CLAUDECODE")),
    ),
    Kind("agent", "a coding agent's sandbox", (env("CURSOR_AGENT"), env("GEMINI_CLI"))),
    Kind(
        "apptainer-no-dev",
        "Apptainer/Singularity with --no-mount dev",
        (apptainer_without_dev,),
    ),
    Kind(
        "apptainer",
        "Apptainer/Singularity",
        (*map(env, _APPTAINER), there("/.singularity.d")),
    ),
    Kind(
        "kubernetes",
        "Kubernetes",
        (
            env("KUBERNETES_SERVICE_HOST"),
            there("/var/run/secrets/kubernetes.io"),
            says("/proc/self/cgroup", "kubepods"),
        ),
    ),
    Kind("podman", "Podman", (there("/run/.containerenv"), env("container", "podman"))),
    Kind(
        "docker",
        "Docker",
        (there("/.dockerenv"), says("/proc/self/cgroup", "/docker/", "/docker-")),
    ),
    Kind("flatpak", "Flatpak", (there("/.flatpak-info"), env("FLATPAK_ID"))),
    Kind("snap", "snap", (env("SNAP_NAME"), says("/proc/self/attr/current", "snap."))),
    Kind("firejail", "Firejail", (env("container", "firejail"), first_process("firejail"))),
    Kind("bubblewrap", "bubblewrap", (first_process("bwrap"),)),
    Kind("proot", "PRoot", (traced_by("proot"), env("PROOT_TMP_DIR"))),
    Kind("nspawn", "systemd-nspawn", (env("container", "systemd-nspawn"),)),
    Kind("lxc", "LXC", (env("container", "lxc"), there("/dev/.lxc"), there("/dev/lxd"))),
    Kind("openvz", "OpenVZ", (openvz,)),
    Kind("wsl1", "WSL 1", (says("/proc/version", "Microsoft"),)),
    Kind("wsl2", "WSL 2", (says("/proc/version", "microsoft-standard"),)),
    Kind(
        "gvisor",
        "gVisor",
        # It tells this version of itself whatever the kernel below it is.
        (says("/proc/version", "gvisor", "gVisor", "4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016"),),
    ),
    Kind("chroot", "a changed root (chroot)", (no_root_mount,)),
    Kind("microvm", "a micro virtual machine", (bare_dev,)),
)


def recognise(machine: Machine) -> list[Surrounding]:
    """All kinds of which there is a sign, in the order of KINDS."""
    found = []
    for kind in KINDS:
        evidence = []
        for sign in kind.signs:
            with contextlib.suppress(Exception):  # a sign that fails is no sign
                said = sign(machine)
                if said:
                    evidence.append(said)
        if evidence:
            found.append(Surrounding(kind.name, kind.title, tuple(evidence)))
    return found


@dataclass(frozen=True)
class Confinement:
    """What the kernel says of the limits on this process."""

    seccomp: bool  # a filter of system calls is installed
    no_new_privs: bool  # as Landlock and most sandboxes require
    above_modes: bool  # CAP_DAC_OVERRIDE: permission bits do not count
    label: str | None  # of AppArmor or SELinux, None if unconfined or unknown

    def describe(self) -> str:
        words = [
            "a seccomp filter" if self.seccomp else "",
            "no_new_privs" if self.no_new_privs else "",
            f"security label {self.label}" if self.label else "",
        ]
        return ", ".join(filter(None, words)) or "none that can be seen"


def confinement(machine: Machine) -> Confinement:
    capabilities = int(machine.field("/proc/self/status", "CapEff") or "0", 16)
    label = (machine.text("/proc/self/attr/current") or "").strip("\0\n ")
    return Confinement(
        seccomp=machine.field("/proc/self/status", "Seccomp") == "2",
        no_new_privs=machine.field("/proc/self/status", "NoNewPrivs") == "1",
        above_modes=bool(capabilities & 1 << 1),
        label=None if label in ("", "unconfined", "kernel") else label,
    )
