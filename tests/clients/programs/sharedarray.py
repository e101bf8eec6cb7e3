import os

import numpy as np
import SharedArray

name = f"shm://altsem-client-{os.getpid()}"
array = SharedArray.create(name, (1000,))
array[:] = np.arange(1000)
pid = os.fork()
if pid == 0:
    other = SharedArray.attach(name)
    other[0] = 42
    os._exit(0)
os.waitpid(pid, 0)
SharedArray.delete(name)
assert array[0] == 42 and array.sum() == 499500 + 42
print("ok")
