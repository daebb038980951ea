# Installs eigenscale into a fresh prefix, builds the consumer project against it and runs it on two
# ranks. Run by CTest: cmake -D BUILD=... -D WORK=... -D LAUNCHER=... -P package_test.cmake

function(step description)
  message(STATUS "${description}")
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE code OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "${description} ended with ${code}:\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

function(expect text)
  string(FIND "${output}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "expected '${text}' in:\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
step("install" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
# Moved, so that a path of the build or of the first prefix in the package would be found out.
file(RENAME ${WORK}/prefix ${WORK}/moved)

step("configure the consumer" ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/consumer -B ${WORK}/consumer
  -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH=${WORK}/moved
  "-DCMAKE_EXE_LINKER_FLAGS=${LINKER_FLAGS}")
step("build the consumer" ${CMAKE_COMMAND} --build ${WORK}/consumer)
step("run the consumer on two ranks" ${LAUNCHER} -np 2 ${WORK}/consumer/consumer)
expect("ranks sum to 3")

# A module of one's own trains to the same loss on any number of ranks; 200 steps in single precision
# keep the two digits that are compared.
foreach(ranks 1 2 3)
  step("train the consumer's module on ${ranks} ranks" ${LAUNCHER} -np ${ranks}
    ${WORK}/consumer/train_own_module)
  if(NOT output MATCHES "loss (0\\.0[0-9])")
    message(FATAL_ERROR "expected a loss below 0.1, found: ${output}")
  endif()
  set(loss_${ranks} ${CMAKE_MATCH_1})
  if(NOT loss_${ranks} STREQUAL loss_1)
    message(FATAL_ERROR "the loss is ${loss_${ranks}} on ${ranks} ranks and ${loss_1} on one")
  endif()
endforeach()
file(READ ${CMAKE_CURRENT_LIST_DIR}/consumer/train_own_module.cpp example)
file(READ ${CMAKE_CURRENT_LIST_DIR}/../../docs/training.md output)
expect("${example}")

step("run an installed program" ${LAUNCHER} -np 1 ${WORK}/moved/bin/eigenscale-cluster --version)
expect("eigenscale-cluster ${VERSION}")
expect("MPI")
expect("libtorch")

# The job scripts find the programs that are installed with them.
step("run an installed job script" ${CMAKE_COMMAND} -E env --unset=EIGENSCALE_BIN
  ${WORK}/moved/share/eigenscale/job-scripts/submit --scheduler local --dry-run -- eigenscale-cluster --data x)
expect("${WORK}/moved/bin/eigenscale-cluster --data x")
file(READ ${WORK}/moved/share/eigenscale/modulefiles/eigenscale/${VERSION} output)
expect("set prefix \"${WORK}/prefix\"")

# Manual pages and completion are there and say what the programs do.
file(READ ${WORK}/moved/share/man/man1/eigenscale-whiten.1 output)
expect(".TH EIGENSCALE-WHITEN 1 \"\" \"eigenscale ${VERSION}\"")
expect("\\fB\\-\\-method\\fR \\fITEXT\\fR")
foreach(case "--meth=--method" "--method z=zca" "--solver exact --ou=--output")
  string(REPLACE "=" ";" case "${case}")
  list(GET case 0 typed)
  list(GET case 1 completed)
  step("complete '${typed}'" bash -c "source '${WORK}/moved/share/bash-completion/completions/eigenscale-whiten'
    COMP_WORDS=(eigenscale-whiten ${typed}) COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
    _eigenscale && echo \"[\${COMPREPLY[*]}]\"")
  expect("[${completed}]")
endforeach()
