import sys

import billiard


def square(x):
    return x * x


if __name__ == "__main__":
    pool = billiard.Pool(2)
    assert pool.map(square, range(8)) == [i * i for i in range(8)]
    pool.close()
    pool.join()
    lock = billiard.get_context("spawn").Lock()
    with lock:
        assert not lock.acquire(False)
    sys.exit(7)
