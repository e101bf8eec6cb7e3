from multiprocessing import Pool

import nbformat.v4
from nbconvert import HTMLExporter


def converted(number):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"# {number}")])
    return len(HTMLExporter().from_notebook_node(book)[0])


if __name__ == "__main__":
    with Pool(2) as pool:
        assert all(length > 1000 for length in pool.map(converted, range(4)))
    print("ok")
