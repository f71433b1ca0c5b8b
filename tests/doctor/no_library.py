"""A backend whose library nobody has."""

raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")
