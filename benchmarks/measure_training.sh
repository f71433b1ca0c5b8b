#!/usr/bin/env bash
# Measure how fast each recipe trains: one epoch of it and its validation, on an idle machine.
#
# Usage: benchmarks/measure_training.sh FOLDER
#
# FOLDER, below benchmarks/records, gets the records, from which benchmarks/tables.py makes CONTRIBUTING's table. CamVid lies in
# $EDGESEG_DATA/camvid, and runs/ holds the teachers and starts that the recipes name.
set -euo pipefail

folder=${1:?names the folder of the records}
mkdir -p "$folder"
runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
for recipe in recipes/*.toml; do
    name=$(basename "$recipe" .toml)
    edgeseg train "$recipe" --epochs 1 -o "$runs/$name" --json >"$folder/train-$name.json"
done
