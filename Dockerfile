# The suite in a container, for a processor or for CUDA.
#
#   docker build -t ovsbench .
#   docker build -t ovsbench:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
#   docker run --rm -v "$PWD:/work" ovsbench demo -o /work/demo
#   docker run --rm --gpus all -v "$PWD:/work" ovsbench:cuda run data/vipseg -m m2f-clip -o runs/m2f-clip
#
# The wheels of torch for CUDA bring its libraries; of the host only the driver and nvidia-container-toolkit are needed.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=gkc,video,fast,parquet

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HOME=/cache

WORKDIR /src
COPY constraints.txt ./
# torch goes first, of the index that was chosen: with it in place nothing below asks for another build of it.
RUN pip install -c constraints.txt --index-url "${TORCH_INDEX}" torch torchvision

COPY pyproject.toml README.md LICENSE ./
COPY ovsbench ./ovsbench
COPY benchmark ./benchmark
COPY baselines ./baselines
COPY data_prep ./data_prep
COPY gkc_video ./gkc_video
COPY leaderboard ./leaderboard
RUN pip install -c constraints.txt ".[${EXTRAS}]" \
    && useradd --create-home --uid 1000 user \
    && mkdir -p /cache /work \
    && chown user:user /cache /work

USER 1000
WORKDIR /work
ENTRYPOINT ["ovsbench"]
CMD ["--help"]
