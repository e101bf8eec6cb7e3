"""Small faults planted in the sources, one at a time: do the tests notice?  `make mutants`."""
