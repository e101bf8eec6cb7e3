"""What helps, in the words of the container or sandbox that the user is in.

A table of (surroundings, causes, what to do).  The surroundings come in the order of
surroundings.KINDS, and the first that has an entry for the cause is answered; what an administrator
of the machine can do is added where the user may be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .patient import Patient

ANY = ("missing", "no-tmpfs", "read-only", "full", "mode", "policy")
ABSENT = ("missing", "no-tmpfs")


@dataclass(frozen=True)
class Remedy:
    """`surrounding` "" is the machine itself."""

    surrounding: str
    causes: tuple[str, ...]
    text: str
    lines: tuple[str, ...] = ()


KUBERNETES = (
    "spec:",
    "  containers:",
    "  - name: NAME",
    "    volumeMounts:",
    "    - {name: shm, mountPath: /dev/shm}",
    "  volumes:",
    "  - name: shm",
    "    emptyDir: {medium: Memory, sizeLimit: 1Gi}",
)

REMEDIES: tuple[Remedy, ...] = (
    Remedy("lambda", (*ANY, "other"), "AWS Lambda offers no usable /dev/shm: use altsem."),
    Remedy("termux", (*ANY, "no-semlock"), "Android has no named semaphores: use altsem."),
    Remedy("android", (*ANY, "no-semlock"), "Android has no named semaphores: use altsem."),
    Remedy(
        "codex",
        ("policy", "read-only", "mode"),
        "Let the sandbox write to /dev/shm, in ~/.codex/config.toml:",
        ("[sandbox_workspace_write]", 'writable_roots = ["/dev/shm"]'),
    ),
    Remedy(
        "claude",
        ("policy", "read-only", "mode"),
        "Let the sandbox write to /dev/shm, in .claude/settings.json:",
        ('{"sandbox": {"filesystem": {"allowWrite": ["/dev/shm"]}}}',),
    ),
    # It skips binds below /dev there, with a warning.
    Remedy(
        "apptainer-no-dev",
        ANY,
        "Leave out --no-mount dev (in apptainer.conf: `mount dev = yes`), or mount a scratch "
        "directory (--bind /dev/shm is skipped where /dev is not mounted):",
        (
            "apptainer exec --scratch /dev/shm IMAGE COMMAND",
            "apptainer exec --bind /dev/shm IMAGE COMMAND      # without --no-mount dev",
        ),
    ),
    Remedy(
        "apptainer",
        ANY,
        "Give the container the host's /dev/shm:",
        (
            "apptainer exec --bind /dev/shm IMAGE COMMAND",
            "export APPTAINER_BIND=/dev/shm      # or for all that follow",
        ),
    ),
    Remedy(
        "kubernetes",
        ANY,
        "Mount an emptyDir of medium Memory on /dev/shm:",
        KUBERNETES,
    ),
    *(
        remedy
        for name in ("docker", "podman")
        for remedy in (
            Remedy(
                name,
                ABSENT,
                "Start the container with a /dev/shm (--ipc=none is what leaves it out):",
                (
                    f"{name} run --ipc=private --shm-size=1g ...",
                    f"{name} run --ipc=host ...      # the host's own",
                ),
            ),
            Remedy(
                name,
                ("full",),
                "Give the container a larger /dev/shm (64 MB is the default):",
                (
                    f"{name} run --shm-size=1g ...",
                    'shm_size: "1gb"      # of the service, in compose.yaml',
                ),
            ),
            Remedy(
                name,
                ("read-only", "mode", "policy"),
                "Mount a /dev/shm that everybody may write to:",
                (f"{name} run --tmpfs /dev/shm:rw,nosuid,nodev,mode=1777,size=1g ...",),
            ),
            Remedy(
                name,
                ("filtered",),
                "Permit the system call in the container's seccomp profile:",
                (f"{name} run --security-opt seccomp=PROFILE.json ...",),
            ),
        )
    ),
    Remedy(
        "flatpak",
        ANY,
        "Give the application the host's /dev/shm:",
        ("flatpak run --device=shm APP", "flatpak override --user --device=shm APP"),
    ),
    Remedy(
        "snap",
        ANY,
        "Ask for a private /dev/shm, in snapcraft.yaml:",
        ("plugs:", "  shared-memory:", "    private: true"),
    ),
    Remedy("firejail", ANY, "Keep /dev/shm:", ("firejail --keep-dev-shm COMMAND",)),
    Remedy(
        "bubblewrap",
        ANY,
        "Mount a tmpfs on /dev/shm, after --dev:",
        ("bwrap ... --dev /dev --perms 1777 --tmpfs /dev/shm ... COMMAND",),
    ),
    Remedy(
        "proot",
        ANY,
        "Bind a directory to /dev/shm:",
        ('proot -b "$TMPDIR:/dev/shm" ...',),
    ),
    Remedy(
        "nspawn",
        ANY,
        "Mount a tmpfs on /dev/shm:",
        ("systemd-nspawn --tmpfs=/dev/shm:mode=1777 ...",),
    ),
    Remedy(
        "lxc",
        ANY,
        "Mount a tmpfs on /dev/shm, in the container's configuration:",
        ("lxc.mount.entry = tmpfs dev/shm tmpfs rw,nosuid,nodev,mode=1777,create=dir 0 0",),
    ),
    Remedy(
        "wsl1",
        (*ANY, "other", "filtered"),
        "WSL 1 has no working semaphores; WSL 2 has (in a Windows terminal):",
        ("wsl --set-version DISTRIBUTION 2",),
    ),
    Remedy(
        "chroot",
        ABSENT,
        "From outside, as root:",
        ("mount --bind /dev/shm ROOT/dev/shm",),
    ),
    # What root can do, wherever it is root.
    Remedy(
        "",
        ABSENT,
        "As root of the machine:",
        (
            "mkdir -p /dev/shm      # after removing what else is in its place",
            "mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm",
        ),
    ),
    Remedy("", ("read-only",), "As root:", ("mount -o remount,rw /dev/shm",)),
    Remedy(
        "",
        ("full",),
        "Remove what was left behind (sem.mp-* of programs that were killed), or as root:",
        ("mount -o remount,size=1g,nr_inodes=1m /dev/shm",),
    ),
    Remedy("", ("mode",), "As root:", ("chmod 1777 /dev/shm",)),
    Remedy(
        "",
        ("policy", "filtered"),
        "Whoever set the sandbox up must permit files in /dev/shm, and link, which sem_open needs.",
    ),
    Remedy(
        "",
        ("no-semlock",),
        "Build Python where a tmpfs is mounted on /dev/shm, or tell its configure that it will be:",
        ("./configure ac_cv_posix_semaphores_enabled=yes ...",),
    ),
    Remedy(
        "",
        ("descriptors",),
        "Raise the limit (on musl there is none to raise):",
        ("ulimit -n 65536",),
    ),
    Remedy("", ("mappings",), "As root:", ("sysctl vm.max_map_count=1048576",)),
)
# Where even root cannot mount, and the general remedies would only lead astray.
CLOSED = ("lambda", "termux", "android", "apptainer", "flatpak", "snap", "wsl1", "proot")


def remedies(cause: str, patient: Patient) -> list[tuple[str, Remedy]]:
    """What helps against a cause: (title of the surroundings, remedy), the first one best."""
    found = []
    for one in patient.surroundings:
        fitting = [r for r in REMEDIES if r.surrounding == one.name and cause in r.causes]
        if fitting:
            found = [(one.title, remedy) for remedy in fitting]
            break
    if not found or (patient.uid == 0 and not patient.within(*CLOSED)):
        found += [
            ("this machine", remedy)
            for remedy in REMEDIES
            if not remedy.surrounding and cause in remedy.causes
        ]
    return found
