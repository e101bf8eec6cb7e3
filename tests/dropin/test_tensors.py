"""Tensors of PyTorch, in place of whose memory ours is put, as far as that can be told without it.

With PyTorch itself: tests/clients/test_torch.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import dropin_support as dropin
from altsem.dropin import tensors

# What is used of it, over memory that is mapped.
LIKE_TORCH = '''
import mmap, os, threading

class UntypedStorage:
    """One, as far as the drop-in uses it."""
    def __init__(self, size):
        self.data, self.fd = bytearray(size), None
    @classmethod
    def _new_shared_fd_cpu(cls, fd, size):
        self = cls(0)
        self.fd = os.dup(fd)
        self.data = mmap.mmap(self.fd, size)
        return self
    @classmethod
    def _new_using_fd_cpu(cls, size):
        raise RuntimeError("unable to open shared memory object </torch_1> in read-write mode")
    _new_using_filename_cpu = _new_using_fd_cpu
    def _share_fd_cpu_(self):
        if self.fd is None and self.data:
            raise RuntimeError("unable to open shared memory object </torch_1>")
        return self.fd if self.fd is not None else -1, len(self.data)
    def _share_filename_cpu_(self):
        raise RuntimeError("unable to open shared memory object </torch_1> in read-write mode")
    def _get_shared_fd(self):
        if self.fd is None:
            raise RuntimeError("couldn't retrieve a shared file descriptor")
        return self.fd
    def _swap_data_ptr_(self, other):
        self.data, other.data, self.fd, other.fd = other.data, self.data, other.fd, self.fd
    def is_shared(self):
        return self.fd is not None
    def nbytes(self):
        return len(self.data)
    def copy_(self, other):
        self.data[:] = other.data[:]
    def fill_(self, value):
        self.data[:] = bytes([value]) * len(self.data)
    def __iter__(self):
        return iter(self.data[:])
    @property
    def device(self):
        class device:
            type = "cpu"
        return device
{more}
'''
PROGRAM = """
{before}
import altsem
altsem.install(force=True)
from torch.storage import UntypedStorage
def outcome(call):
    try:
        return call()
    except Exception as error:
        return str(error).splitlines()
one = UntypedStorage(10)
one.fill_(3)
print(outcome(lambda: UntypedStorage._new_using_fd_cpu(8).nbytes()))
print(outcome(lambda: one._share_fd_cpu_()[1]), set(one), one.is_shared())
first = one.fd
print(outcome(lambda: one._share_fd_cpu_()[0] == first))
print(outcome(UntypedStorage(0)._share_fd_cpu_))
print(len(outcome(UntypedStorage(4)._share_filename_cpu_)))
print(len(outcome(lambda: UntypedStorage._new_using_filename_cpu(4))))
altsem.uninstall()
print(type(outcome(UntypedStorage(4)._share_fd_cpu_)).__name__)
"""


def ran(tmp_path: Path, more: str = "", before: str = "", **env: str) -> tuple[list[str], str]:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "storage.py").write_text(LIKE_TORCH.replace("{more}", more))
    env["PYTHONPATH"] = str(tmp_path)
    done = dropin.run(sys.executable, "-c", PROGRAM.format(before=before), env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("before", ["", "import torch.storage"])
def test_memory_by_descriptor_has_no_name_and_errors_of_names_say_what_helps(
    tmp_path: Path, before: str
) -> None:
    lines, errors = ran(tmp_path, before=before)
    assert lines == ["8", "10 {3} True", "True", "(-1, 0)", "2", "2", "list"]
    assert errors == ""


DIFFERENT = {
    "one name is missing": "    _swap_data_ptr_ = property()",
    "what comes back is something else": "    def nbytes(self): return 17",
    "it raises": "    def copy_(self, other): raise TypeError('not so')",
    "nothing is exchanged": "    def _swap_data_ptr_(self, other): pass",
    "all have descriptors": "    def _get_shared_fd(self): return 1",
}


@pytest.mark.parametrize("more", DIFFERENT.values(), ids=DIFFERENT)
def test_another_pytorch_than_expected_is_left_alone_which_is_said_if_asked(
    tmp_path: Path, more: str
) -> None:
    lines, errors = ran(tmp_path, more, ALTSEM_VERBOSE="1")
    assert lines[0].startswith("['unable to open shared memory"), lines
    assert lines[-1] == "list"
    assert len(errors.splitlines()) == 1
    assert errors.startswith("altsem: PyTorch is left as it is: ")


def test_it_says_nothing_unless_asked(tmp_path: Path) -> None:
    assert ran(tmp_path, DIFFERENT["it raises"])[1] == ""


def test_the_names_are_pytorchs_private_ones() -> None:
    """Each has its maker: a name that is replaced by nothing would be a mistake of ours."""
    assert set(tensors.NAMES) == set(tensors._makers)
