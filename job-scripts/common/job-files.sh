# The job files of job-scripts/submit: directives of each scheduler, then the variables, then the
# script of this folder's neighbours that runs the program. Sourced by submit, whose variables it uses.
# shellcheck shell=bash disable=SC2154 # set by submit

declare -A submit_command=([slurm]=sbatch [pbs]=qsub [lsf]=bsub [flux]=flux)
declare -A job_script=([local]=local/run [slurm]=slurm/run.sbatch [pbs]=pbs/run.pbs [lsf]=lsf/run.lsf
  [flux]=flux/run.flux)

choose_scheduler() {
  local candidate
  if [[ -z $scheduler ]]; then
    scheduler=local
    for candidate in slurm flux lsf pbs; do
      if type -P "${submit_command[$candidate]}" >/dev/null; then
        scheduler=$candidate
        break
      fi
    done
  fi
  [[ -n ${job_script[$scheduler]:-} ]] ||
    fail "--scheduler is '$scheduler'; expected local, slurm, pbs, lsf or flux"
  [[ $scheduler == local ]] || type -P "${submit_command[$scheduler]}" >/dev/null ||
    fail "--scheduler $scheduler, but ${submit_command[$scheduler]} is not in PATH"
}

# Each prints the lines that the scheduler reads.
slurm_directives() {
  echo "#SBATCH --job-name=$name --output=$log/%x-%${array:+A_%a}${array:-j}.out --open-mode=append"
  echo "#SBATCH --requeue --signal=B:USR1@120 --time=$time --ntasks=$ranks --cpus-per-task=$threads"
  [[ -z $nodes ]] || echo "#SBATCH --nodes=$nodes --ntasks-per-node=$((ranks / nodes))"
  [[ -z $account ]] || echo "#SBATCH --account=$account"
  [[ -z $partition ]] || echo "#SBATCH --partition=$partition"
  [[ -z $array ]] || echo "#SBATCH --array=0-$((tasks - 1))"
  [[ -z $after ]] || echo "#SBATCH --dependency=afterok:${after//,/:} --kill-on-invalid-dep=yes"
}

pbs_directives() {
  local chunks=${nodes:-1}
  echo "#PBS -N $name"
  echo "#PBS -l select=$chunks:ncpus=$((ranks / chunks * threads)):mpiprocs=$((ranks / chunks)):ompthreads=$threads"
  echo "#PBS -l walltime=$time"
  echo "#PBS -j oe"
  echo "#PBS -o $log/"
  [[ -z $account ]] || echo "#PBS -A $account"
  [[ -z $partition ]] || echo "#PBS -q $partition"
  if [[ -n $array ]] && ((tasks > 1)); then
    echo "#PBS -J 0-$((tasks - 1))"
  fi
  [[ -z $after ]] || echo "#PBS -W depend=afterok:${after//,/:}"
}

lsf_directives() {
  local tasks_text='' id condition=''
  [[ -z $array ]] || tasks_text="[1-$tasks]"
  echo "#BSUB -J \"$name$tasks_text\""
  echo "#BSUB -n $ranks"
  echo "#BSUB -R \"affinity[core($threads)]\""
  [[ -z $nodes ]] || echo "#BSUB -R \"span[ptile=$((ranks / nodes))]\""
  echo "#BSUB -W ${time%:*}"
  echo "#BSUB -wa USR1 -wt 2"
  echo "#BSUB -Q 75"
  echo "#BSUB -o $log/$name-%J${array:+-%I}.out"
  [[ -z $account ]] || echo "#BSUB -P $account"
  [[ -z $partition ]] || echo "#BSUB -q $partition"
  for id in ${after//,/ }; do
    condition+="${condition:+ && }done($id)"
  done
  [[ -z $condition ]] || echo "#BSUB -w \"$condition\""
}

flux_directives() {
  local id
  echo "#flux: --job-name=$name --output=$log/$name-{{id}}.out"
  echo "#flux: --nslots=$ranks --cores-per-slot=$threads --time-limit=${seconds}s --signal=SIGUSR1@120s"
  [[ -z $nodes ]] || echo "#flux: --nodes=$nodes"
  [[ -z $account ]] || echo "#flux: --bank=$account"
  [[ -z $partition ]] || echo "#flux: --queue=$partition"
  for id in ${after//,/ }; do
    echo "#flux: --dependency=afterok:$id"
  done
}

local_directives() { :; }

# job_file FILE [INDEX]: prints the job; FILE is where it will lie.
job_file() {
  local variable
  echo "#!/usr/bin/env bash"
  "${scheduler}_directives"
  echo "cd $(printf %q "$PWD")"
  for variable in ${!EIGENSCALE_*}; do # the site's and the user's
    case $variable in
      EIGENSCALE_JOB_*) ;;
      *) printf 'export %s=%q\n' "$variable" "${!variable}" ;;
    esac
  done
  echo "export EIGENSCALE_JOB_SCRIPTS=$(printf %q "$job_scripts") EIGENSCALE_JOB_FILE=$(printf %q "$1")"
  echo "export EIGENSCALE_JOB_RANKS=$ranks EIGENSCALE_JOB_THREADS=$threads EIGENSCALE_JOB_SECONDS=$seconds"
  [[ -z $array ]] || printf 'export EIGENSCALE_JOB_ARRAY=%q\n' "$array"
  [[ -z $each ]] || printf 'export EIGENSCALE_JOB_EACH=%q\n' "$each"
  [[ -z ${2:-} ]] || echo "export EIGENSCALE_JOB_INDEX=$2"
  echo "exec $(printf '%q ' "$job_scripts/${job_script[$scheduler]}" "${program_command[@]}")"
}

# hand_in FILE: submits it and prints the id alone.
hand_in() {
  local answer
  case $scheduler in
    slurm) answer=$(sbatch --parsable "$1") && echo "${answer%%;*}" ;;
    pbs) qsub "$1" ;;
    lsf) answer=$(bsub <"$1") && [[ $answer =~ \<([0-9]+)\> ]] && echo "${BASH_REMATCH[1]}" ;;
    flux) flux batch "$1" ;;
  esac
}

# Where one job file does for the whole array, and where each task has its own.
arrays_are_native() { [[ -n $array && $scheduler =~ ^(slurm|lsf)$ ]] || [[ $scheduler == pbs ]] && ((tasks > 1)); }

submit_job() {
  local task file id ids='' code=0
  for ((task = 0; task < tasks; ++task)); do
    if [[ -z $array ]] || arrays_are_native; then
      file=$log/$name.job
      job_file "$file" >"$file" || fail "cannot write '$file'" 6
      task=$tasks
    else
      file=$log/$name-$task.job
      job_file "$file" "$task" >"$file" || fail "cannot write '$file'" 6
    fi
    chmod +x "$file"
    if [[ $scheduler == local ]]; then
      echo "submit: running $file" >&2
      "$file" 2>&1 | tee -a "${file%.job}.out" >&2 || code=$?
      ((code == 0)) || exit "$code"
      ids+=${ids:+,}local
    else
      id=$(hand_in "$file") || fail "${submit_command[$scheduler]} did not take the job '$file'" 1
      ids+=${ids:+,}$id
      echo "submit: $file is job $id" >&2
    fi
  done
  echo "$ids"
}

# Asks the scheduler whether it knows the site's values; prints what it says.
check_site() {
  local file
  case $scheduler in
    slurm)
      file=$(mktemp)
      job_file "$file" >"$file"
      sbatch --test-only "$file" 2>&1 || fail "Slurm would not take this job, see above"
      rm -f "$file"
      ;;
    pbs) [[ -z $partition ]] || qstat -Q "$partition" || fail "PBS has no queue '$partition'" ;;
    lsf) [[ -z $partition ]] || bqueues "$partition" || fail "LSF has no queue '$partition'" ;;
    flux)
      if [[ -n $partition ]]; then
        [[ " $(flux queue list --no-header --format='{queue}' | tr '\n' ' ') " == *" $partition "* ]] ||
          fail "Flux has no queue '$partition'"
      fi
      ;;
  esac
}

dry_run_of_job() {
  local first=''
  [[ -z $array ]] || first=0
  echo "---- $log/$name.job, to be given to ${submit_command[$scheduler]:-bash}"
  job_file "$log/$name.job"
  echo "---- what it would start${array:+, the first of $tasks tasks}"
  job_file "$log/$name.job" "$first" | EIGENSCALE_JOB_DRY_RUN=yes bash || exit $?
  echo "---- the site"
  check_site
  echo "nothing was submitted"
}
