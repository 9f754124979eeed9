#!/usr/bin/env bash
# Runs fuzz targets one after the other and prints a row of figures for each:
#   fuzz/run.sh SECONDS [TARGET...]
# A target ends after ten million executions or so many seconds. Needs cargo-fuzz and a nightly
# toolchain. What is found lands in fuzz/artifacts, the corpora grow in fuzz/work.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET...]}
shift
declare -A longest=(
  [fragments]=8192 [clixml]=4096 [soap]=8192 [xpress]=4096 [chunk]=16384 [json]=8192
  [xml]=8192 [texts]=4096 [layers]=2048 [zip]=4096 [pack]=4096
)
targets=("$@")
[ ${#targets[@]} -gt 0 ] ||
  targets=(fragments clixml soap chunk layers json xml texts xpress zip pack)
# No sanitizer: the project's code has nothing unsafe, and they would cost half the speed.
build=(-s none)
cargo +nightly fuzz build "${build[@]}" >&2
cargo run --quiet --locked --manifest-path ../Cargo.toml -p scenario --bin make-seeds -- seeds >&2
export TMPDIR=${TMPDIR:-/dev/shm}
echo '| Target | Executions | Seconds | Edges | Features | Inputs kept | Crashes |'
echo '|---|---|---|---|---|---|---|'
for target in "${targets[@]}"; do
  mkdir -p "work/$target" "corpus/$target" "artifacts/$target"
  dictionary=()
  [ ! -f "dicts/$target.dict" ] || dictionary=("-dict=dicts/$target.dict")
  log="work/$target.log"
  nice -n 15 cargo +nightly fuzz run "${build[@]}" "$target" \
    "work/$target" "corpus/$target" "seeds/$target" -- "${dictionary[@]}" \
    -max_len="${longest[$target]}" -runs=10000000 -max_total_time="$seconds" \
    -timeout=10 -rss_limit_mb=256 -print_final_stats=1 >"$log" 2>&1 || true
  line=$(grep -a 'cov: ' "$log" | tail -1)
  number() { sed -n "s/.*$1 *\([0-9]*\).*/\1/p" <<<"$2"; }
  printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$target" \
    "$(number 'number_of_executed_units:' "$(grep -a number_of_executed_units "$log")")" \
    "$(number ' in' "$(grep -a '^Done' "$log")")" \
    "$(number 'cov:' "$line")" "$(number 'ft:' "$line")" "$(number 'corp:' "$line")" \
    "$(find "artifacts/$target" -type f | wc -l)"
done
