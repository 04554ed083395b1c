"""The jobs, each a function from settings to a typed result; imported one by one, as each needs its own libraries."""
