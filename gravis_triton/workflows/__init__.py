"""The jobs, each a function from settings to a typed result; imported lazily, as each needs its own libraries."""
