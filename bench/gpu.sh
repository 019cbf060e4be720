#!/usr/bin/env bash
# Everything that wants a GPU, in one go: tests on CUDA, every encoder against its bare network, prompts, FINCH; one table.
#
#   bench/gpu.sh                  on a machine with a GPU; the limits of all sections make 470 seconds
#   bench/gpu.sh --dry            tiny networks on a CPU: shows that the script runs, its figures mean nothing
#   bench/gpu.sh --wheels FOLDER  where there is a network: fetch what a machine with Python 3.12, torch and transformers
#                                 lacks; FAISS=faiss-gpu takes faiss for GPUs (130 MB and NVIDIA's CUDA 12 libraries,
#                                 which are not fetched), FAISS= none (44 MB in all), and then FINCH is left out
#   bench/gpu.sh --from FOLDER    install those wheels into a temporary folder first; PYTHON names the Python
#
# A section that fails or takes too long leaves a row that says so, and the next one begins. LOGS names a folder to keep.
set -uo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
FAISS=${FAISS-faiss-cpu}
WHEELS="av zarr numcodecs donfig google-crc32c pydantic pydantic-core typing-inspection annotated-types"
dry=no patience=1 wheels="" source=""
while [ $# -gt 0 ]; do
    case $1 in
    --dry) dry=yes patience=4 ;;
    --wheels | --from)
        [ $# -gt 1 ] || { echo "$1 needs a folder" >&2 && exit 2; }
        if [ "$1" = --wheels ]; then wheels=$2; else source=$2; fi
        shift
        ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 2 ;;
    esac
    shift
done

if [ -n "$wheels" ]; then
    platforms=$(printf -- '--platform manylinux_2_%s_x86_64 ' 28 27 24 17)
    # Of the releases that the project pins; faiss-gpu is not among them.
    # shellcheck disable=SC2086 — lists of words
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        $platforms --platform manylinux2014_x86_64 --dest "$wheels" -c envs/constraints.txt $WHEELS $FAISS || exit 1
    du -shc "$wheels"/*.whl
    exit
fi

LOGS=${LOGS:-$(mktemp -d)}
mkdir -p "$LOGS"
if [ -n "$source" ]; then
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$LOGS/site" "$source"/*.whl || exit 1
    export PYTHONPATH=$LOGS/site
fi
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

began=$(date +%s)
: >"$LOGS/rows"
row() { echo "$1" | tee -a "$LOGS/rows"; }

# section NAME SECONDS COMMAND…: what it prints as rows of a table is kept, whatever becomes of it.
section() {
    local name=$1 limit=$(($2 * patience)) status took start
    shift 2
    start=$(date +%s)
    timeout --kill-after=5 "$limit" "$@" >"$LOGS/$name.log" 2>&1
    status=$?
    took=$(($(date +%s) - start))
    grep '^| ' "$LOGS/$name.log" | tee -a "$LOGS/rows"
    case $status in
    0) row "| section $name | | | done in $took s |" ;;
    124 | 137) row "| section $name | | | ended at its limit of $limit s |" ;;
    *) row "| section $name | | | FAILED with $status in $took s: $(tail -n 1 "$LOGS/$name.log" | tr -d '|' | cut -c 1-150) |" ;;
    esac
}

# Like section, for pytest: its last line is the result.
tests() {
    section "$@"
    row "| tests of $1 | | | $(tail -n 1 "$LOGS/$1.log" | tr -d '|=') |"
}

if [ $dry = yes ]; then
    encoders="--device cpu --size tiny --items 2 --batch 2 --frames 4"
    pose="--device cpu --size tiny --items 1 --batch 1 --frames 2" prompts="--device cpu --frames 1 --grid 2 --layers 1" finch="--device cpu --n 500 --d 50"
else
    encoders="--device cuda --size base --items 256"
    pose="--device cuda --size base --items 16 --frames 120 --batch 256 --decoders 8"
    prompts="--device cuda --frames 8 --grid 7 --repeats 2" finch="--n 20000 --d 850"
fi
backbone="$encoders" dual="$encoders"
[ $dry = yes ] || backbone="$encoders --batch 32" dual="$encoders --batch 64"

head='import platform, torch, transformers as t
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"| machine | | | {gpu}, Python {platform.python_version()}, torch {torch.__version__}, transformers {t.__version__} |")'
section machine 30 "$PYTHON" -c "$head"
tests cuda 100 "$PYTHON" -m pytest -q -p no:cacheprovider tests/encoding/test_cuda.py
# shellcheck disable=SC2086 — lists of arguments
{
    section backbones 90 "$PYTHON" bench/encoders.py --role backbone --kind all --rows $backbone
    section dual_encoders 70 "$PYTHON" bench/encoders.py --role dual_encoder --kind all --rows $dual
    section poses 45 "$PYTHON" bench/encoders.py --role pose --kind all --rows $pose
    section detected 35 "$PYTHON" bench/encoders.py --role pose --boxes detected --rows $pose
    section prompts 35 "$PYTHON" bench/prompts.py --rows $prompts
    if "$PYTHON" -c 'import faiss' 2>/dev/null; then
        tests search 25 "$PYTHON" -m pytest -q -p no:cacheprovider tests/motion/test_search.py
        section finch 40 "$PYTHON" bench/finch.py --rows $finch
    else
        row "| section finch | | | left out: faiss is not installed |"
    fi
}

echo
echo "| what | bare network | through the pipeline | share, or what was said |"
echo "|---|---|---|---|"
cat "$LOGS/rows"
echo
echo "$(($(date +%s) - began)) s; logs in $LOGS"
! grep -qE 'FAILED|failed:|ended at its limit| failed' "$LOGS/rows"
