# edgeseg on a Jetson with JetPack 6, with the image's own TensorRT, CUDA and Python:
#   docker build -f docker/jetson.Dockerfile -t edgeseg-jetson .
#   docker run --rm -it --runtime nvidia --device /dev/video0 -v edgeseg:/root edgeseg-jetson
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv python3-libnvinfer \
    && rm -rf /var/lib/apt/lists/*
# TensorRT's bindings are the system's, and are seen through --system-site-packages. numpy 2 would break its OpenCV.
RUN python3 -m venv --system-site-packages /opt/edgeseg
COPY . /src
RUN /opt/edgeseg/bin/pip install --no-cache-dir 'numpy<2' 'cuda-python~=12.6' '/src[onnxruntime,vision]'
ENV PATH=/opt/edgeseg/bin:$PATH
CMD ["edgeseg", "doctor"]
