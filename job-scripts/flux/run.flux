#!/usr/bin/env bash
# Runs a program inside a batch job of Flux. job-scripts/submit --scheduler flux makes and submits that
# job, with --signal=SIGUSR1@120s. A restart is a new job, so jobs that wait for the end of the first
# one do not start after it.
#
# Tried with a stand-in for the command flux only, which records what it is given.
set -euo pipefail
job_scripts=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")

if [[ -z ${FLUX_URI:-} && -z ${EIGENSCALE_JOB_DRY_RUN:-} ]]; then
  echo "run.flux: error: not inside a Flux job; use job-scripts/submit --scheduler flux" >&2
  exit 2
fi

begin=$(date +%s)
seconds_left() {
  if [[ -n ${EIGENSCALE_JOB_SECONDS:-} ]]; then
    echo $((EIGENSCALE_JOB_SECONDS - $(date +%s) + begin))
  fi
}
queue_again() { # to the instance that runs this job, not to the job's own
  [[ -r ${EIGENSCALE_JOB_FILE:-} ]] || return 1
  sed '/^#flux: --dependency=/d' "$EIGENSCALE_JOB_FILE" >"$EIGENSCALE_JOB_FILE.again"
  flux --parent batch --env="EIGENSCALE_JOB_RESTARTS=$((restarts + 1))" "$EIGENSCALE_JOB_FILE.again"
}
job_goes_on() { true; }
native_launcher() {
  launcher=(flux run --ntasks="$ranks" --cores-per-task="$threads")
  if [[ $binding == none ]]; then
    launcher+=(-o cpu-affinity=off)
  else
    launcher+=(-o cpu-affinity=per-task)
    # shellcheck disable=SC2034 # used by what is sourced
    ranks_are_bound=yes
  fi
}

# shellcheck disable=SC2034 # used by what is sourced
scheduler=Flux restarts=${EIGENSCALE_JOB_RESTARTS:-0} ranks=${EIGENSCALE_JOB_RANKS:-1} \
  threads=${EIGENSCALE_JOB_THREADS:-1} index=${EIGENSCALE_JOB_INDEX:-}
# shellcheck source=job-scripts/common/run-program.sh
source "$job_scripts/common/run-program.sh"
say "job $(flux getattr jobid 2>/dev/null || echo '?') of Flux"
run_program "$@"
