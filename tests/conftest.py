"""Strict settings for every test, made before anything imports JAX or the package."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUMPY_RANK_PROMOTION", "raise")
# The tests compile much and compute little.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# A quarter of the compiling time of XLA's default, for kernels a little slower; and no module cut
# into parts to compile side by side, which costs more than it gains when every core runs tests.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

from jaxtyping import install_import_hook

# Shapes and types of every annotated function are checked at each call.
install_import_hook("seq2seq_jax", "beartype.beartype")


def pytest_collection_modifyitems(items):
    """Files with slow tests first: a long one that starts last would keep one worker alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
