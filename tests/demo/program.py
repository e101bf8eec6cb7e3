import multiprocessing
def my_function(x):
    return x * x
if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        print(pool.map(my_function, [1, 2, 3, 4]))
