#!/usr/bin/env bash
# Measure what the README's tables tell, on an idle machine, with CamVid in $EDGESEG_DATA/camvid.
#
# Usage: benchmarks/measure.sh FOLDER
#
# FOLDER, below benchmarks/records, gets the records; name it in the README, then benchmarks/tables.py writes the tables.
set -euo pipefail

folder=${1:?names the folder of the records}
mkdir -p "$folder"
engines=$(mktemp -d)
trap 'rm -rf "$engines"' EXIT
build() {
    edgeseg build "${@:2}" --int8 --data camvid -o "$engines" --json >"$folder/$1.json"
}

edgeseg models --filter camvid --json >"$folder/models.json"
for model in edgeseg/zoo/*.onnx; do
    model=$(basename "$model" .onnx)
    build "build-$model" "$model" --duration 20
done
if python -c 'import tensorrt_rtx_bindings' 2>/dev/null; then
    for model in edgeseg/zoo/*.onnx; do
        model=$(basename "$model" .onnx)
        edgeseg build "$model" --int8 --backend tensorrt-rtx -o "$engines/rtx" --json >"$folder/rtx-$model.json"
    done
fi
for mode in full half; do
    build "backends-$mode" --upsample "$mode" --duration 20
done
build repair-per-tensor --per-tensor --calib camvid-train
