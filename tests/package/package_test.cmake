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
  -G Ninja -D CMAKE_BUILD_TYPE=Release -D CMAKE_PREFIX_PATH=${WORK}/moved)
step("build the consumer" ${CMAKE_COMMAND} --build ${WORK}/consumer)
step("run the consumer on two ranks" ${LAUNCHER} -np 2 ${WORK}/consumer/consumer)
expect("ranks sum to 3")

step("run an installed program" ${LAUNCHER} -np 1 ${WORK}/moved/bin/eigenscale-cluster --version)
expect("eigenscale-cluster ${VERSION}")
