"""CUDA's driver API, of which nothing is needed yet."""
