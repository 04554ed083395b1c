"""Self-supervised pre-training on dermatology images by GraVIS (arXiv 2301.04410)."""

__version__ = "0.1.0"
