"""Typed settings of every job, from flags, keyword arguments and YAML files."""
