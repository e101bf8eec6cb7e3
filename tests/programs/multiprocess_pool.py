import sys

import multiprocess


def square(x):
    return x * x


if __name__ == "__main__":
    with multiprocess.Pool(2) as pool:
        assert pool.map(square, range(8)) == [i * i for i in range(8)]
        assert pool.map(lambda x: x + 1, range(3)) == [1, 2, 3]
        pool.close()
        pool.join()
    lock = multiprocess.get_context("spawn").Lock()
    with lock:
        assert not lock.acquire(False)
    sys.exit(7)
