"""edgeseg: from a trained segmentation network to a gated INT8 engine on a camera.

Importing this package loads nothing heavy. What a stage needs is imported by that stage.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
