import sys
from multiprocessing.pool import ThreadPool

if __name__ == "__main__":
    with ThreadPool(2) as pool:
        assert pool.map(str, range(4)) == ["0", "1", "2", "3"]
    sys.exit(7)
