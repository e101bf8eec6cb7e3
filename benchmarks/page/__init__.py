"""How figures are shown, and the form in which they are kept in docs/benchmarks/."""
