# What this machine offers to a build or a local run; sourced by the scripts.
# shellcheck shell=bash

# Where the kernel shows control groups, and which this process is in. A container may be given less
# than the machine has: cpu.max and memory.max of version 2, or their like of version 1.
cgroup_root=${cgroup_root:-/sys/fs/cgroup}
cgroup_of_process=${cgroup_of_process:-/proc/self/cgroup}

# cgroup_folders CONTROLLER: the folders with this process' limits, its own first, then those above.
cgroup_folders() {
  local controller=$1 id controllers path root
  while IFS=: read -r id controllers path; do
    if [[ $id == 0 && -z $controllers ]]; then
      root=$cgroup_root
      [[ ! -d $root/unified ]] || root=$root/unified
    elif [[ ,$controllers, == *,$controller,* ]]; then
      root=$cgroup_root/$controller
      [[ -d $root ]] || root=$cgroup_root/$controllers
    else
      continue
    fi
    # In a container, the path may be that outside of it, which is not there: its end is the root.
    while [[ $path == /?* ]]; do
      echo "$root$path"
      path=${path%/*}
    done
    echo "$root"
  done < <(cat "$cgroup_of_process" 2>/dev/null)
}

# first_number FILE: the first word of a file where it is a whole number; nothing otherwise ("max").
first_number() {
  local word=''
  [[ ! -r $1 ]] || read -r word _ <"$1" || true
  [[ ! $word =~ ^[0-9]+$ ]] || echo "$word"
}

# Cores that the control groups leave, rounded up; nothing where they set no limit.
cgroup_cores() {
  local folder quota period cores least=''
  while read -r folder; do
    quota='' period=''
    if [[ -r $folder/cpu.max ]]; then
      read -r quota period <"$folder/cpu.max" || true
    elif [[ -r $folder/cpu.cfs_quota_us ]]; then
      quota=$(first_number "$folder/cpu.cfs_quota_us") # -1 is none
      period=$(first_number "$folder/cpu.cfs_period_us")
    fi
    if [[ $quota =~ ^[0-9]+$ && $period =~ ^[1-9][0-9]*$ ]]; then
      cores=$(((quota + period - 1) / period))
      ((cores >= 1)) || cores=1
      if [[ -z $least ]] || ((cores < least)); then
        least=$cores
      fi
    fi
  done < <(cgroup_folders cpu)
  echo "$least"
}

# KiB that the control groups leave free; nothing where they set no limit. What the kernel may drop,
# files that were read long ago, counts as free.
cgroup_available_kib() {
  local folder limit used inactive free least=''
  while read -r folder; do
    if [[ -r $folder/memory.max ]]; then
      limit=$(first_number "$folder/memory.max")
      used=$(first_number "$folder/memory.current")
    else
      limit=$(first_number "$folder/memory.limit_in_bytes")
      used=$(first_number "$folder/memory.usage_in_bytes")
    fi
    # Version 1 writes "no limit" as a number near 2^63.
    if [[ -z $limit ]] || ((${#limit} >= 18)); then
      continue
    fi
    inactive=$(awk '$1 == "inactive_file" || $1 == "total_inactive_file" { value = $2 }
                    END { print value + 0 }' "$folder/memory.stat" 2>/dev/null) || true
    free=$(((limit - ${used:-0} + ${inactive:-0}) / 1024))
    if [[ -z $least ]] || ((free < least)); then
      least=$free
    fi
  done < <(cgroup_folders memory)
  echo "$least"
}

# Cores this process may use. (nproc alone would answer with OMP_NUM_THREADS, and not of quotas.)
usable_cores() {
  local cores limit
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
  limit=$(cgroup_cores)
  if [[ -n $limit ]] && ((limit < cores)); then
    cores=$limit
  fi
  echo "$cores"
}

# Compilers to run at once: one per core, and 1.5 GiB of free memory for each, since a file that
# includes libtorch takes about one.
compile_jobs() {
  local cores available limit by_memory
  cores=$(usable_cores)
  available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null || true)
  available=${available:-$((cores * 1572864))}
  limit=$(cgroup_available_kib)
  if [[ -n $limit ]] && ((limit < available)); then
    available=$limit
  fi
  by_memory=$((available / 1572864))
  if [[ $by_memory -lt 1 ]]; then
    by_memory=1
  fi
  echo $((by_memory < cores ? by_memory : cores))
}

# Open MPI refuses to start as root unless told twice; containers usually run as root.
allow_mpirun_as_root() {
  if [[ $EUID -eq 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}
