from multiprocessing import Pool

import numba
import numpy as np


@numba.njit(parallel=True)
def total(values):
    found = 0.0
    for i in numba.prange(values.size):
        found += values[i]
    return found


def one(number):
    return total(np.full(1000, float(number)))


if __name__ == "__main__":
    with Pool(2) as pool:
        assert pool.map(one, range(4)) == [0.0, 1000.0, 2000.0, 3000.0]
    print("ok")
