#!/usr/bin/env bash
# A stand-in for STAR, for tests of many samples that have the same reads. The first
# alignment to an index is STAR's own and is kept; every further one reads its input to
# the end, as STAR would, and writes what was kept.
#
# STAND_IN_STAR names the real program, STAND_IN_KEPT a folder.
set -euo pipefail

values_of() {
  local wanted=$1 name=
  shift
  for word; do
    case $word in
      --*) name=$word ;;
      *) [ "$name" != "$wanted" ] || printf '%s\n' "$word" ;;
    esac
  done
}

mapfile -t reads < <(values_of --readFilesIn "$@")
((${#reads[@]})) || exec "$STAND_IN_STAR" "$@"

prefix=$(values_of --outFileNamePrefix "$@")
kept=$STAND_IN_KEPT/$(basename "$(values_of --genomeDir "$@")")
if [ ! -e "$kept" ]; then
  "$STAND_IN_STAR" "$@"
  cp -r "$prefix" "$kept"
else
  for file in "${reads[@]}"; do
    cat "$file" >/dev/null &
  done
  wait
  cp -r "$kept/." "$prefix"
fi
