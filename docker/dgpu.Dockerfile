# edgeseg on a PC or server with an NVIDIA GPU, with the image's own TensorRT:
#   docker build -f docker/dgpu.Dockerfile -t edgeseg-dgpu .
#   docker run --rm -it --gpus all -v edgeseg:/root edgeseg-dgpu
FROM nvcr.io/nvidia/tensorrt:25.08-py3

COPY . /src
RUN python3 -m venv --system-site-packages /opt/edgeseg \
    && /opt/edgeseg/bin/pip install --no-cache-dir '/src[onnxruntime,tensorrt,vision]'
ENV PATH=/opt/edgeseg/bin:$PATH
CMD ["edgeseg", "doctor"]
