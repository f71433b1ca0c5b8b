# edgeseg on a Jetson with JetPack 6, with the image's own TensorRT, CUDA and Python:
#   docker build -f docker/jetson.Dockerfile -t edgeseg-jetson .
#   cat /proc/device-tree/model > /tmp/nv_jetson_model; cat /proc/device-tree/compatible > /tmp/nv_jetson_compatible
#   docker run --rm -it --runtime nvidia --device /dev/video0 -v edgeseg:/root -v /etc/nv_tegra_release:/etc/nv_tegra_release:ro \
#     -v /etc/nvpmodel.conf:/etc/nvpmodel.conf:ro -v /var/lib/nvpmodel/status:/var/lib/nvpmodel/status:ro \
#     -v /tmp/nv_jetson_model:/tmp/nv_jetson_model:ro -v /tmp/nv_jetson_compatible:/tmp/nv_jetson_compatible:ro edgeseg-jetson
# Containers don't see the device tree, by which the board is known; the mounted files take its place.
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv python3-libnvinfer \
    && rm -rf /var/lib/apt/lists/*
# TensorRT's bindings are the system's, and are seen through --system-site-packages. numpy 2 would break its OpenCV.
RUN python3 -m venv --system-site-packages /opt/edgeseg
COPY . /src
RUN /opt/edgeseg/bin/pip install --no-cache-dir 'numpy<2' 'cuda-python~=12.6.0' '/src[onnxruntime,vision]'
ENV PATH=/opt/edgeseg/bin:$PATH
CMD ["edgeseg", "doctor"]
