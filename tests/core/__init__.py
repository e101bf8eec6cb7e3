"""Tests of the C core alone; a package, so that other tests may have the same names."""
