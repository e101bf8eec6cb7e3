from multiprocessing import Pool


def square(number):
    return number * number


if __name__ == "__main__":
    with Pool(2) as pool:
        assert pool.map(square, range(10)) == [n * n for n in range(10)]
        pool.close()
        pool.join()
    print("ok")
