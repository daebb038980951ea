# One start of a program of eigenscale inside a job; sourced by the scripts that a scheduler runs,
# which know their scheduler. Checks the setting, launches, passes the request to stop on to the
# ranks, and has the job queued again while the program is not finished.
#
# The script that sources this sets
#   scheduler     its name, for the log
#   job_scripts   the folder above this one
#   restarts      how often this job has been queued again so far
#   ranks         how many the scheduler has granted
#   threads       cores of each rank
#   index         which task of an array this is, from 0; empty outside of one
# and defines
#   seconds_left     prints how long the job may still run; nothing where that is not known
#   queue_again      queues this very job again; fails where that cannot be
#   job_goes_on      fails once the scheduler is ending the job, for instance since it was cancelled
#   native_launcher  sets the array launcher and ranks_are_bound=yes|no; fails where mpirun is better
#
# Variables of the user (empty is unset):
#   EIGENSCALE_BIN           the folder of the programs, or the program [build/release/apps here,
#                            what is installed with these scripts, then PATH]
#   EIGENSCALE_LAUNCHER      native, mpirun, or a whole command line; quotes, or a backslash, keep a
#                            path with spaces together [native where it works]
#   EIGENSCALE_BINDING       auto, core or none: of ranks to cores [auto: by the native launcher
#                            where that can, none by mpirun]
#   EIGENSCALE_MODULES       environment modules to load first, separated by spaces
#   EIGENSCALE_MAX_RESTARTS  after so many the job stays ended [20; local 0]
#   EIGENSCALE_TIME_MARGIN   seconds before the end at which the program stops by itself should no
#                            signal have come [60]
# Variables that job-scripts/submit sets:
#   EIGENSCALE_JOB_ARRAY     'seed=1,2,3 x=4,5': what {seed} and {x} in the options stand for, by index
#   EIGENSCALE_JOB_EACH      'repeat=1,2,3': all of them in this one job, one after the other
#   EIGENSCALE_JOB_RANKS, EIGENSCALE_JOB_THREADS, EIGENSCALE_JOB_SECONDS  what was asked for
#   EIGENSCALE_JOB_DRY_RUN   not empty: print what would start, and end
# shellcheck shell=bash disable=SC2154 # set by the script that sources this

# shellcheck source=job-scripts/common/parameters.sh
source "$job_scripts/common/parameters.sh"

say() { printf 'run-program [%(%F %T)T]: %s\n' -1 "$*"; }

fail() {
  say "error: $1"
  exit 2
}

# check_number NAME DEFAULT: sets the variable NAME to DEFAULT if it is empty.
check_number() {
  local value=${!1:-$2}
  [[ $value =~ ^[0-9]+$ ]] || fail "$1 is '$value'; expected a whole number of at least 0"
  printf -v "$1" '%d' "$((10#$value))"
}

load_modules() {
  local name file
  [[ -n ${EIGENSCALE_MODULES:-} ]] || return 0
  set +u # the modules' own scripts use variables that are not set
  # A batch shell may not have read the system's profile, and a user's own installation is not there.
  for file in /etc/profile.d/{lmod,modules}.sh ${LMOD_PKG:+"$LMOD_PKG/init/bash"} \
    ${MODULESHOME:+"$MODULESHOME/init/bash"}; do
    if [[ $(type -t module) != function && -r $file ]]; then
      # shellcheck disable=SC1090
      source "$file"
    fi
  done
  [[ -n $(type -t module) ]] ||
    fail "EIGENSCALE_MODULES is '$EIGENSCALE_MODULES', but $(hostname) has no command 'module'"
  for name in $EIGENSCALE_MODULES; do
    module load "$name" || fail "cannot load the module '$name' of EIGENSCALE_MODULES"
    say "loaded the module $name"
  done
  set -u
}

# find_program NAME: sets program to its path.
find_program() {
  local here=$job_scripts/../build/release/apps/$1 installed=$job_scripts/../../../bin/$1
  [[ $1 =~ ^eigenscale-[a-z]+$ ]] ||
    fail "'$1' is no program of eigenscale; expected a name such as eigenscale-cluster"
  if [[ -n ${EIGENSCALE_BIN:-} ]]; then
    program=$EIGENSCALE_BIN
    if [[ -d $program ]]; then
      program=$program/$1
    fi
    [[ -f $program && -x $program ]] ||
      fail "EIGENSCALE_BIN is '$EIGENSCALE_BIN', but there is no program '$program' on $(hostname)"
    [[ ${program##*/} == "$1" ]] || fail "EIGENSCALE_BIN is '$EIGENSCALE_BIN', which is not $1"
  elif [[ -x $here ]]; then
    program=$(realpath "$here")
  elif [[ -x $installed ]]; then
    program=$(realpath "$installed")
  else
    program=$(type -P "$1") ||
      fail "found no $1 in $(realpath -m "${here%/*}") nor in PATH; build it or set EIGENSCALE_BIN"
  fi
}

# Sets can_resume and can_limit_time: what the program's own --help says. Alone, outside of what the
# scheduler says about the job, which MPI would take for its own.
ask_program() {
  local help
  if help=$(env -i OMP_WAIT_POLICY=passive PATH="$PATH" HOME="${HOME:-/}" LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}" \
    "$program" --help 2>&1); then
    can_resume=no can_limit_time=no
    [[ ! $help =~ --resume ]] || can_resume=yes
    [[ ! $help =~ --time-limit ]] || can_limit_time=yes
  else # no single processes on this host
    say "'$program --help' does not run here alone: ${help##*$'\n'}"
    can_resume=no
    [[ ! $program =~ /eigenscale-(train|cluster)$ ]] || can_resume=yes
    can_limit_time=$can_resume
  fi
}

# Sets launcher and the OpenMP variables. Threads are pinned only where ranks are bound to cores of
# their own; otherwise all ranks of a host would pin theirs to the same ones.
choose_launcher() {
  local choice=${EIGENSCALE_LAUNCHER:-}
  binding=${EIGENSCALE_BINDING:-auto}
  [[ $binding =~ ^(auto|core|none)$ ]] ||
    fail "EIGENSCALE_BINDING is '$binding'; expected auto, core or none"
  launcher=()
  ranks_are_bound=no
  if [[ -n $choice && $choice != native && $choice != mpirun ]]; then
    if [[ -f $choice && -x $choice ]]; then # a path that has spaces itself
      launcher=("$choice")
    else
      # xargs reads quotes as a shell does, and does nothing else that a shell would.
      mapfile -t launcher < <(xargs printf '%s\n' <<<"$choice" 2>/dev/null)
    fi
    [[ -n ${launcher[0]:-} ]] ||
      fail "EIGENSCALE_LAUNCHER is '$choice'; expected native, mpirun, or a command line with closed quotes"
  elif [[ $choice == mpirun ]] || ! native_launcher; then
    [[ $choice != native ]] ||
      fail "EIGENSCALE_LAUNCHER is 'native', but $scheduler's own launcher does not work here"
    launcher=(mpirun -np "$ranks")
    if [[ $binding == core ]]; then
      launcher+=(--map-by "slot:PE=$threads" --bind-to core)
      ranks_are_bound=yes
    else
      launcher+=(--bind-to none)
    fi
  fi
  [[ ${#launcher[@]} -eq 0 ]] || type -P "${launcher[0]}" >/dev/null ||
    fail "the launcher '${launcher[0]}' is not in PATH"

  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$threads}
  export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-$OMP_NUM_THREADS}
  export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # or programs would start twice to get it
  if [[ $ranks_are_bound == yes ]]; then
    export OMP_PLACES=${OMP_PLACES:-cores} OMP_PROC_BIND=${OMP_PROC_BIND:-close}
  else
    export OMP_PROC_BIND=${OMP_PROC_BIND:-false}
  fi
}

# Sets options: those of the user, and what makes a restart go on. --overwrite is for the first
# start; after it, it would throw away what the job itself has done. Sets output, too.
make_options() {
  local option left has_limit=no overwrite=no before=''
  options=() output=''
  for option in "$@"; do
    if [[ $before == --output ]]; then
      output=$option
    fi
    before=$option
    case $option in
      --resume) continue ;;
      --overwrite)
        overwrite=yes
        continue
        ;;
      --output=*) output=${option#*=} ;;
      --time-limit | --time-limit=*) has_limit=yes ;;
    esac
    options+=("$option")
  done
  if [[ $overwrite == yes && ($restarts -eq 0 || $can_resume == no) ]]; then
    options+=(--overwrite)
  elif [[ $can_resume == yes ]]; then
    options+=(--resume)
  fi
  [[ $can_limit_time == yes ]] || return 0
  left=$(seconds_left)
  if [[ -z $left ]]; then
    say "the scheduler names no end of this job"
  elif [[ $has_limit == yes || -n ${EIGENSCALE_TIME_LIMIT:-} ]]; then
    say "$left s are left to this job; the time limit is the one you gave"
  elif ((left < 3 * EIGENSCALE_TIME_MARGIN)); then
    say "$left s are left to this job, too few for a time limit: it relies on the signal"
  else
    options+=(--time-limit "$((left - EIGENSCALE_TIME_MARGIN))")
    say "$left s are left to this job; without a signal it stops $EIGENSCALE_TIME_MARGIN s earlier"
  fi
}

# The ranks are asked by USR1 in any case: on TERM, launchers kill them before they can write a
# checkpoint. Asked again and again, since ranks that are just starting do not listen yet. A program
# that writes none is left alone by USR1 and ended by TERM.
ask_to_stop() {
  interrupted=yes stop_wanted=yes
  if [[ $1 == TERM ]]; then
    terminated=yes
  fi
  if [[ $can_resume == no ]]; then
    say "got SIG$1; ${program##*/} writes no checkpoint"
    if [[ $1 == TERM && -n $child ]]; then
      kill -TERM "$child" 2>/dev/null || true
    fi
    return 0
  fi
  say "got SIG$1: asking the ranks to write a checkpoint and stop"
  if [[ -n $child && -z $asking ]]; then
    (while kill -USR1 "$child" 2>/dev/null; do sleep 5; done) >/dev/null 2>&1 &
    asking=$!
  fi
}

# Runs the command to its end, whatever signals come, and sets code to how it ended.
launch() {
  # Until launcher and ranks have handlers of their own, USR1 would end them: ignored from the start.
  local -a guarded=(bash -c 'trap "" USR1; exec "$@"' "${program##*/}")
  # Before 4.4, an empty array is unset to bash.
  local -a command=(${launcher[@]+"${launcher[@]}"} "$program" ${options[@]+"${options[@]}"})
  say "starting:$(printf ' %q' "${command[@]}")"
  [[ -z ${EIGENSCALE_JOB_DRY_RUN:-} ]] || return 0
  asking=''
  (
    trap '' USR1
    exec ${launcher[@]+"${launcher[@]}"} "${guarded[@]}" "${command[@]:${#launcher[@]}}"
  ) &
  child=$!
  if [[ $stop_wanted == yes ]]; then
    ask_to_stop USR1 # it came before there was anybody to tell
  fi
  # A trapped signal ends wait early, with a code of its own.
  while :; do
    interrupted=no
    code=0
    wait "$child" || code=$?
    if [[ $interrupted == no ]] || ! kill -0 "$child" 2>/dev/null; then
      break
    fi
  done
  if [[ $interrupted == yes ]]; then # the child's end and a signal came together
    code=0
    wait "$child" || code=$?
  fi
  child='' interrupted=no
  if [[ -n $asking ]]; then
    kill "$asking" 2>/dev/null || true
  fi
}

# What becomes of the job after 75, "a checkpoint is written, there is more to do".
go_on_later() {
  if [[ $terminated == yes ]] || ! job_goes_on; then
    say "the checkpoint is written; not queued again, since $scheduler is ending the job. Submit it \
again to go on"
  elif ((restarts >= EIGENSCALE_MAX_RESTARTS)); then
    say "the checkpoint is written; not queued again after $restarts restarts \
(EIGENSCALE_MAX_RESTARTS). Submit it again to go on"
  else
    say "the checkpoint is written; queueing the job again, restart $((restarts + 1)) of at most \
$EIGENSCALE_MAX_RESTARTS"
    trap '' TERM # queueing again ends this start
    queue_again || say "error: $scheduler would not queue the job again. Submit it again to go on"
  fi
}

# run_program NAME OPTION...: a program and its options. Does not return.
run_program() {
  local name=${1:-} combination
  local -a words
  : "${scheduler:?}" "${job_scripts:?}" "${restarts:?}" "${ranks:?}" "${threads:?}"
  child='' asking='' interrupted=no stop_wanted=no terminated=no can_resume=yes code=0 program=$name
  trap 'ask_to_stop USR1' USR1
  trap 'ask_to_stop TERM' TERM
  [[ $# -gt 0 ]] || fail "no program; expected one and its options, such as eigenscale-cluster \
--data X.npy ..., after the name of the job script"
  [[ $# -gt 1 || $name == eigenscale-info ]] || fail "no options for $name; see '$name --help'"
  shift
  check_number EIGENSCALE_MAX_RESTARTS "${default_restarts:-20}"
  check_number EIGENSCALE_TIME_MARGIN 60
  load_modules
  find_program "$name"
  ask_program
  choose_launcher
  say "$ranks ranks of $OMP_NUM_THREADS threads in $PWD; binding $binding, threads are pinned: \
$ranks_are_bound; restart $restarts of at most $EIGENSCALE_MAX_RESTARTS"
  fill_in "${EIGENSCALE_JOB_ARRAY:-}" "${index:-}" "$@" || fail "$problem"
  words=("${filled[@]}")
  for ((combination = 0; combination < $(combinations "${EIGENSCALE_JOB_EACH:-}"); ++combination)); do
    fill_in "${EIGENSCALE_JOB_EACH:-}" "$combination" "${words[@]}" || fail "$problem"
    make_options "${filled[@]}"
    if [[ -n ${EIGENSCALE_JOB_EACH:-} && -e $output/summary.json ]]; then
      say "'$output' is finished; skipped"
      continue
    fi
    if ((combination > 0)) && [[ $stop_wanted == yes ]]; then
      say "asked to stop: what is finished is kept, the rest waits for the next start"
      code=75
      break
    fi
    launch
    [[ $code -eq 0 ]] || break
  done
  if [[ -n ${EIGENSCALE_JOB_DRY_RUN:-} ]]; then
    say "nothing was started"
    exit 0
  fi
  case $code in
    0) say "done" ;;
    75) go_on_later ;;
    *) say "$name ended with $code, see above; not queued again" ;;
  esac
  exit "$code"
}
