# eigenscale_add_mpi_test(NAME SOURCES file... [LINK target...] [RANKS 1 2 3 4] [ONCE pattern...]
#                         [TIMEOUT s] [COST s] [LABELS l...])
#
# One test executable of the room (GoogleTest, run by tests/support/mpi_main.cpp on every rank) and
# one CTest entry per rank count, called NAME.np<P>. One mpirun serves all cases of the executable.
# ONCE names cases, as GoogleTest's filter writes them, that are no different on several ranks: they
# run at the first rank count only. COST is about the seconds that four ranks take on two cores; what
# takes longest starts first.
# The environment makes oversubscribed runs as root behave; users never see these settings.
include_guard(GLOBAL)

set(EIGENSCALE_TEST_LAUNCHER ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none)
set(EIGENSCALE_TEST_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  OMP_NUM_THREADS=1)
# Preset asan: whatever a sanitizer finds fails the test. Memory that cannot be had is what tests of
# its absence expect.
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=[a-z,]*address")
  list(APPEND EIGENSCALE_TEST_ENVIRONMENT
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/sanitizers/leaks.supp:print_suppressions=0"
    ASAN_OPTIONS=allocator_may_return_null=1
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1)
endif()

set(EIGENSCALE_TEST_RANKS "" CACHE STRING "Rank counts of the tests; empty: those each test names")
list(JOIN EIGENSCALE_TEST_RANKS "|" any_rank_count)

function(eigenscale_add_mpi_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT;COST" "SOURCES;LINK;RANKS;ONCE;LABELS" ${ARGN})
  if(NOT TEST_RANKS)
    set(TEST_RANKS 1 2 3 4)
  endif()
  if(EIGENSCALE_TEST_RANKS)
    list(FILTER TEST_RANKS INCLUDE REGEX "^(${any_rank_count})$")
  endif()
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 300)
  endif()
  if(NOT TEST_COST)
    set(TEST_COST 4)
  endif()
  add_executable(test_${name} ${TEST_SOURCES})
  target_compile_options(test_${name} PRIVATE ${EIGENSCALE_WARNINGS})
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(test_${name} PRIVATE ${TEST_LINK} eigenscale_test_support)
  eigenscale_use_torch(test_${name})
  set(filter "")
  foreach(ranks IN LISTS TEST_RANKS)
    add_test(NAME ${name}.np${ranks}
      COMMAND ${EIGENSCALE_TEST_LAUNCHER} -np ${ranks} $<TARGET_FILE:test_${name}> ${filter})
    math(EXPR cost "${TEST_COST} * ${ranks} / 4")
    set_tests_properties(${name}.np${ranks} PROPERTIES
      TIMEOUT ${TEST_TIMEOUT} PROCESSORS ${ranks} COST ${cost} LABELS "${TEST_LABELS}"
      ENVIRONMENT "${EIGENSCALE_TEST_ENVIRONMENT};EIGENSCALE_TEST_DATA=${EIGENSCALE_TEST_DATA}"
      SKIP_REGULAR_EXPRESSION "ALL TESTS SKIPPED")
    if(TEST_ONCE)
      list(JOIN TEST_ONCE ":" once)
      set(filter "--gtest_filter=-${once}")
    endif()
  endforeach()
endfunction()
