#!/bin/bash
# All that is to be measured on a GPU, in at most ten minutes: bash tests/gpu_table.sh OUT
# Without one, whether it runs:
# DEVICE=cpu MODEL=gkc-world-fast NAMERS=ovsbench-world SIZE=96x64 FRAMES=2 REPEATS=1 LIMIT=1 bash tests/gpu_table.sh OUT
set -eu
out=$1
device=${DEVICE:-cuda} size=${SIZE:-854x480} frames=${FRAMES:-32} repeats=${REPEATS:-3} limit=${LIMIT:-32}
model=${MODEL:-random:RN50-quickgelu} namers=${NAMERS:-RN50-quickgelu ViT-B-16 ViT-L-14}
methods="gkc gkc,batch=8"
for name in $namers; do methods+=" two-stage,clip=random,clip_model=$name"; done

for precision in bfloat16 float32; do
    python -m ovsbench speed $methods -c "$model" --regions 20 --size "$size" --frames "$frames" \
        --repeats "$repeats" --precision $precision --device "$device" --flops --count --plot "$out/$precision"
done
# Where the time of the network goes that is no recorded graph, and what the graph saves.
python -m ovsbench speed gkc gkc,cuda_graphs=false -c "$model" --regions 20 --size "$size" --frames "$frames" \
    --repeats "$repeats" --precision bfloat16 --device "$device" --count --plot "$out/graphs"
python -m ovsbench speed gkc gkc,batch=8 -c gkc-world --frames 24 --repeats "$repeats" --device "$device" --plot "$out/world"

# Scores of the processor and of the GPU.
python -m ovsbench data build world --part dev -o "$out/dev"
for where in cpu "$device"; do
    python -m ovsbench run "$out/dev" -m gkc -c gkc-world --limit "$limit" --device "$where" -o "$out/run-$where"
done
[ "$device" = cpu ] || python -m ovsbench compare "$out/run-cpu" "$out/run-$device"

python -m pytest -q tests/test_device_path.py tests/test_batches.py tests/test_batch_reads.py tests/test_speed.py tests/test_encoder_only.py
