"""Makes the table of docs/doctor.md: what the doctor says in every bed.

    python tests/beds/doctor_table.py [--nobody PYTHON] [--also 'TITLE=COMMAND'] ... [--write]

PYTHON: an interpreter with altsem that the user nobody may run; without it, the beds that need an
ordinary user are left out.  COMMAND: an interpreter with altsem and what starts it elsewhere, for
instance in a container; `-m altsem doctor` is added to it.  --write: into docs/doctor.md, between
its markers; else it is printed.  Needs root, or permitted user namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "doctor.md"
BEGIN, END = "<!-- table: tests/beds/doctor_table.py -->", "<!-- end of table -->"
REFUSE = (
    "import os, sys; sys.path.insert(0, sys.argv[1]); import confine; "
    "eval(sys.argv[2]); os.execv(sys.executable, [sys.executable, *sys.argv[3:]])"
)

# (title, user, bed, what is done in it before)
BEDS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("an ordinary machine", "root", ("none",), ""),
    ("no `/dev/shm`", "root", ("gone",), ""),
    ("no `/dev/shm`", "nobody", ("gone",), ""),
    ("a file in its place", "root", ("file",), ""),
    ("a dangling link in its place", "root", ("symlink",), ""),
    ("read-only", "root", ("ro",), ""),
    ("read-only", "nobody", ("ro",), ""),
    ("all inodes used", "root", ("full-inode",), ""),
    ("no page free", "root", ("full-page",), ""),
    ("no page free", "nobody", ("full-page",), ""),
    ("mode 755", "root", ("mode755",), ""),
    ("mode 755", "nobody", ("mode755",), ""),
    ("mode 000", "root", ("mode000",), ""),
    ("mode 000", "root without capabilities", ("mode000", "--bare"), ""),
    ("mode 000", "nobody", ("mode000",), ""),
    ("`link` refused (EPERM)", "root", ("none",), "confine.refuse(1, 'link', 'linkat')"),
    ("`memfd_create` refused", "root", ("gone",), "confine.refuse(1, 'memfd_create')"),
    ("`semget` refused", "root", ("gone",), "confine.refuse(38, 'semget')"),
    ("Landlock: only /tmp may be written", "root", ("none",), "confine.landlock('/tmp')"),
    ("no file, no memfd", "root", ("gone",), "confine.nothing_writable()"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Plain)
    parser.add_argument("--nobody", metavar="PYTHON")
    parser.add_argument("--also", metavar="TITLE=COMMAND", action="append", default=[])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = []
    for title, user, bed, before in BEDS:
        command = [str(HERE / "shm"), *bed]
        if user == "nobody":
            if not options.nobody:
                continue
            command += ["--as", "nobody", "env", "HOME=/tmp", options.nobody]
        else:
            command += [sys.executable]
        if before:
            command += ["-c", REFUSE, str(HERE.parent), before]
        rows.append(row(title, user, command))
    for entry in options.also:
        title, _, command = entry.partition("=")
        rows.append(row(title, "", shlex.split(command)))
    head = "| bed | user | what the user sees | cause | remedy | altsem | exit |"
    table = "\n".join([head, "|---|---|---|---|---|---|---|", *rows])
    if not options.write:
        print(table)
        return 0
    text = DOCUMENT.read_text()
    before, rest = text.split(BEGIN)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}")
    return 0


def row(title: str, user: str, command: list[str]) -> str:
    """A line of the table."""
    # Whose container this happens to be is no part of it.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ALTSEM", "XDG_RUNTIME"))}
    done = subprocess.run(
        [*command, "-m", "altsem", "doctor", "--json", "--seconds", "30"],
        env=env,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        verdict: dict[str, Any] = json.loads(done.stdout)["verdict"]
    except (ValueError, KeyError):
        raise SystemExit(f"{title}: {done.stdout}{done.stderr}") from None
    assert done.returncode == verdict["status"]
    # The last one is that of the machine itself, whatever container the beds are made in.
    remedies = verdict["remedies"][-1:]
    lines = [line.partition("      ")[0] for one in remedies for line in one["lines"]]
    remedy = "; ".join(f"`{line}`" for line in lines)
    if remedies and not remedy:
        remedy = remedies[0]["text"]
    how = f"{verdict['backend']}, {verdict['memory']}" if verdict["altsem"] else "does not work"
    error = (verdict["error"] or "").partition(", therefore")[0]
    cells = (title, user, error, verdict["meaning"] or "", remedy, how, str(done.returncode))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


class _Plain(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    sys.exit(main())
