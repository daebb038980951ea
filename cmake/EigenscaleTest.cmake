# eigenscale_add_mpi_test(NAME SOURCES file... [LINK target...] [RANKS 1 2 3 4] [TIMEOUT s] [LABELS l...])
#
# One test executable of the room (GoogleTest, run by tests/support/mpi_main.cpp on every rank) and
# one CTest entry per rank count, called NAME.np<P>. One mpirun serves all cases of the executable.
# The environment makes oversubscribed runs as root behave; users never see these settings.
include_guard(GLOBAL)

set(EIGENSCALE_TEST_LAUNCHER ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none)
set(EIGENSCALE_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  OMP_NUM_THREADS=1)

function(eigenscale_add_mpi_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "SOURCES;LINK;RANKS;LABELS" ${ARGN})
  if(NOT TEST_RANKS)
    set(TEST_RANKS 1 2 3 4)
  endif()
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300)
  endif()
  add_executable(test_${name} ${TEST_SOURCES})
  target_compile_options(test_${name} PRIVATE ${EIGENSCALE_WARNINGS})
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(test_${name} PRIVATE ${TEST_LINK} eigenscale_test_support)
  eigenscale_use_torch(test_${name})
  foreach(ranks IN LISTS TEST_RANKS)
    add_test(NAME ${name}.np${ranks}
      COMMAND ${EIGENSCALE_TEST_LAUNCHER} -np ${ranks} $<TARGET_FILE:test_${name}>)
    set_tests_properties(${name}.np${ranks} PROPERTIES
      TIMEOUT ${TEST_TIMEOUT} PROCESSORS ${ranks} LABELS "${TEST_LABELS}"
      ENVIRONMENT "${EIGENSCALE_TEST_ENVIRONMENT};EIGENSCALE_TEST_DATA=${EIGENSCALE_TEST_DATA}"
      SKIP_REGULAR_EXPRESSION "ALL TESTS SKIPPED")
  endforeach()
endfunction()
