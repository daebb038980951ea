# What this machine offers to a build or a local run; sourced by the scripts.
# shellcheck shell=bash

# Cores this process may use. (nproc alone would answer with OMP_NUM_THREADS.)
usable_cores() {
  env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN
}

# Compilers to run at once: one per core, and 1.5 GiB of free memory for each, since a file that
# includes libtorch takes about one.
compile_jobs() {
  local cores available by_memory
  cores=$(usable_cores)
  available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null || true)
  by_memory=$(( ${available:-$((cores * 1572864))} / 1572864 ))
  if [[ $by_memory -lt 1 ]]; then
    by_memory=1
  fi
  echo $(( by_memory < cores ? by_memory : cores ))
}

# Open MPI refuses to start as root unless told twice; containers usually run as root.
allow_mpirun_as_root() {
  if [[ $EUID -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}
