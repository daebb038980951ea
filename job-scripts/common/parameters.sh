# Values of parameters in the options of a job: 'seed=1,2,3 threshold=0.1,0.2' stands for six
# combinations, numbered from 0, the last parameter changing fastest; {seed} and {threshold} in an
# option are its values. Sourced by the scripts.
# shellcheck shell=bash

# combinations SPECIFICATION: prints how many; 1 for none.
combinations() {
  local parameter number=1
  local -a values
  for parameter in $1; do
    IFS=, read -r -a values <<<"${parameter#*=}"
    number=$((number * ${#values[@]}))
  done
  echo "$number"
}

# check_parameters SPECIFICATION: fails with problem set.
check_parameters() {
  local parameter
  for parameter in $1; do
    if [[ ! $parameter =~ ^[a-z][a-z0-9-]*=[^,=]+(,[^,=]+)*$ ]]; then
      problem="'$parameter' is no parameter; expected NAME=VALUE,VALUE... such as seed=1,2,3"
      return 1
    fi
  done
}

# fill_in SPECIFICATION INDEX WORD...: sets the array filled to the words with the values of
# combination INDEX; fails with problem set.
fill_in() {
  local specification=$1 rest=$2 parameter word i
  local -a values parameters
  shift 2
  filled=("$@")
  [[ -n $specification ]] || return 0
  check_parameters "$specification" || return 1
  if [[ ! $rest =~ ^[0-9]+$ ]] || ((rest >= $(combinations "$specification"))); then
    problem="task '$rest' of $(combinations "$specification") of '$specification'"
    return 1
  fi
  read -r -a parameters <<<"$specification"
  for ((i = ${#parameters[@]} - 1; i >= 0; --i)); do
    parameter=${parameters[i]}
    IFS=, read -r -a values <<<"${parameter#*=}"
    word=${values[rest % ${#values[@]}]}
    filled=("${filled[@]//"{${parameter%%=*}}"/$word}")
    rest=$((rest / ${#values[@]}))
  done
}
