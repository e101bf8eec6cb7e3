import multiprocessing
import sys
from multiprocessing.managers import SharedMemoryManager
from multiprocessing.shared_memory import ShareableList, SharedMemory


def write(name, names):
    memory = SharedMemory(name)
    memory.buf[:5] = b"child"
    memory.close()
    items = ShareableList(name=names)
    items[1] = "changed"
    items.shm.close()


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    memory = SharedMemory(create=True, size=4096)
    items = ShareableList([1, "original", None])
    child = context.Process(target=write, args=(memory.name, items.shm.name))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert bytes(memory.buf[:5]) == b"child"
    assert list(items) == [1, "changed", None]
    for owner in (memory, items.shm):
        owner.close()
        owner.unlink()
    with SharedMemoryManager() as manager:
        assert list(manager.ShareableList([1, 2])) == [1, 2]
    sys.exit(7)
