#!/usr/bin/env bash
# Run the next unfinished cells of the paper world on a machine that has a GPU, PyTorch and no network.
#
#   scripts/paper_slice.sh pack IN            here: pack the data and the state so far into files of at most 58 MB
#   scripts/paper_slice.sh run IN OUT SECONDS [TABLE ...]   there: unpack, measure for SECONDS, pack what is new
#   scripts/paper_slice.sh collect OUT        here: unpack what came back
#
# IN may arrive in several transfers, a few files at a time; `run` starts when all of them are in one folder.
# OUT holds at most four files of 15 MB: records, detectors, per-query logs without their images, and weights as
# far as they fit. Surrogates and query images stay behind: a detection is measured in the slice that made its
# stream. Checkpoints of unfinished trainings stay in SLICE_WORK for the next run on the same machine, and
# travel if they are small; the steps of unfinished attacks stay there and do not travel.
#
# Several cells share the device: a training with small batches leaves most of a GPU idle. Each holds a process
# with its images.
#
# Environment: SLICE_WORLD (paper), SLICE_DEVICE (cuda), SLICE_JOBS (cells at once, 8), SLICE_WORK
# (/tmp/redhanded-slice), SLICE_RECORDS (results/$SLICE_WORLD), SLICE_ARTEFACTS (runs/artefacts), SLICE_SETS
# (the image sets to pack), PYTHON (python3).
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
world=${SLICE_WORLD:-paper}
work=${SLICE_WORK:-/tmp/redhanded-slice}
records=${SLICE_RECORDS:-$here/results/$world}
artefacts=${SLICE_ARTEFACTS:-$here/runs/artefacts}
sets=${SLICE_SETS:-cifar10 cinic10 cinic10_like cifar100 tinyimagenet svhn imagenet1k}
python=${PYTHON:-python3}
most=$((60 * 1000 * 1000))   # bytes that may travel back, of 64 MiB allowed

usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# Files of an artefact store that are worth carrying, smallest first, as far as they fit: every result and
# detector, and the weights of victims and encoders. What an extraction made is not among them but for its
# compact log: without the images its folder would look whole and not be. The remembered steps of an attack
# under way are as large as its images.
carried() {
  local room=$most
  (cd "$1" && find . -type f ! -path '*/log/*' ! -name '*.partial' ! -name 'step-*' ! -name 'trained-*' \
    ! -name 'under-way-*' -printf '%s %p\n') | sort -n |
    while read -r size path; do
      [ -d "$1/$(dirname "$path")/log" ] && continue
      room=$((room - size))
      [ "$room" -lt 0 ] && break
      printf '%s\n' "$path"
    done
}

pack() {
  local into=$1
  : "${REDHANDED_DATA:?REDHANDED_DATA: set it to the folder of the image archives}"
  mkdir -p "$into"
  rm -f "$into"/data.tar.* "$into"/state.tar.*
  tar -cf - -C "$REDHANDED_DATA" $sets | split -b 58000000 -d - "$into/data.tar."
  mkdir -p "$records" "$artefacts"
  tar -cf - --transform 's,^\.,records,' -C "$records" . | cat > "$into/records.tar"
  carried "$artefacts" | tar -cf - --transform 's,^\.,artefacts,' -C "$artefacts" -T - |
    split -b 58000000 -d - "$into/state.tar."
  (cd "$into" && sha256sum data.tar.* state.tar.* records.tar > sums)
  ls -l "$into"
}

run() {
  local from=$1 into=$2 seconds=$3
  shift 3
  (cd "$from" && sha256sum --quiet -c sums) || {
    echo "paper_slice: $from is not whole; transfer the files that are missing or differ" >&2
    exit 2
  }
  mkdir -p "$work"/{data,records,artefacts,logs} "$into"
  if [ ! -f "$work/.unpacked" ]; then
    cat "$from"/data.tar.* | tar -xf - -C "$work/data"
    tar -xf "$from/records.tar" -C "$work"
    cat "$from"/state.tar.* | tar -xf - -C "$work"
    touch "$work/.unpacked"
  fi
  local status=0   # of what failed the rest is brought home all the same
  REDHANDED_DATA="$work/data" PYTHONPATH="$here/src" "$python" -m redhanded.cli run "${@:-all}" \
    --world "$world" --time-limit "$seconds" --device "${SLICE_DEVICE:-cuda}" --jobs "${SLICE_JOBS:-8}" \
    --out "$work/records" --artefacts "$work/artefacts" || status=$?
  # the per-query logs without their images: labels, parents, targets, kinds, rounds
  for log in "$work"/artefacts/*/log; do
    [ -d "$log" ] || continue
    mkdir -p "$work/logs/$(basename "$(dirname "$log")")"
    find "$log" -name '*.npy' ! -name images.npy -exec cp {} "$work/logs/$(basename "$(dirname "$log")")/" \;
  done
  rm -f "$into"/slice.tar.*
  (cd "$work" && { find ./records ./logs -type f; carried "$work/artefacts" | sed 's,^\.,./artefacts,'; } |
    tar -cf - -T -) | head -c 62000000 | split -b 15500000 -d - "$into/slice.tar."
  ls -l "$into"
  return "$status"
}

collect() {
  local from=$1 unpacked
  unpacked=$(mktemp -d)
  # the last file may be cut where the room ended
  cat "$from"/slice.tar.* | tar -xf - -C "$unpacked" || echo "paper_slice: the last file was cut; kept the rest" >&2
  mkdir -p "$records" "$artefacts" "$here/runs/logs"
  cp -n "$unpacked"/records/* "$records"/ 2>/dev/null || true
  # a checkpoint that came back is newer than the one that went; equal keys of finished work are equal content
  cp -r "$unpacked"/artefacts/. "$artefacts"/ 2>/dev/null || true
  local left
  for left in "$artefacts"/*.unfinished; do
    [ -d "${left%.unfinished}" ] && rm -rf "$left"
  done
  cp -rn "$unpacked"/logs/. "$here/runs/logs"/ 2>/dev/null || true
  rm -rf "$unpacked"
  echo "records now in $records: $(find "$records" -name '*.json' | wc -l)"
}

case "${1:-}" in
  pack) [ $# -eq 2 ] || usage; pack "$2" ;;
  run) [ $# -ge 4 ] || usage; run "${@:2}" ;;
  collect) [ $# -eq 2 ] || usage; collect "$2" ;;
  *) usage ;;
esac
