import os

import posix_ipc

name = f"/altsem-client-{os.getpid()}"
semaphore = posix_ipc.Semaphore(name, posix_ipc.O_CREX)
memory = posix_ipc.SharedMemory(name, posix_ipc.O_CREX, size=4096)
pid = os.fork()
if pid == 0:
    os.pwrite(posix_ipc.SharedMemory(name).fd, b"x", 0)
    posix_ipc.Semaphore(name).release()
    os._exit(0)
semaphore.acquire(30)
os.waitpid(pid, 0)
assert os.pread(memory.fd, 1, 0) == b"x"
posix_ipc.unlink_semaphore(name)
posix_ipc.unlink_shared_memory(name)
print("ok")
