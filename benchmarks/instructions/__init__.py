"""Instructions of one acquire and release, counted by valgrind: a figure without any noise."""
