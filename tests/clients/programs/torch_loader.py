"""PyTorch: a DataLoader with two workers, under fork and spawn."""

import torch
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        return torch.full((1 << 16,), float(index)), index


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        loader = DataLoader(Squares(), batch_size=4, num_workers=2, multiprocessing_context=method)
        total = sum(float(batch[:, 0].sum()) for batch, _ in loader)
        assert total == sum(range(64)), total
    print("ok")
