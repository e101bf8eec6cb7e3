"""PyTorch: batches of 25 MB, eight in flight.  For a /dev/shm of 64 MB."""

import torch
from torch.utils.data import DataLoader, Dataset


class Large(Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        return torch.full((25 << 18,), float(index))


if __name__ == "__main__":
    loader = DataLoader(Large(), batch_size=1, num_workers=2, prefetch_factor=4)
    assert sum(float(batch[0, -1]) for batch in loader) == sum(range(24))
    print("ok")
