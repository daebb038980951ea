# Finds what eigenscale stands on and wraps each dependency in one imported target, as a system
# include so that only our own code is held to our warnings. Also included by the installed
# package, which therefore finds the same set.
include_guard(DIRECTORY)

find_package(PkgConfig REQUIRED)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(Torch REQUIRED)
find_package(Boost REQUIRED COMPONENTS program_options)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(spdlog REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Threads REQUIRED)
find_path(RANDOM123_INCLUDE_DIR Random123/philox.h REQUIRED)
find_path(DLIB_INCLUDE_DIR dlib/optimization/max_cost_assignment.h REQUIRED)
pkg_check_modules(OpenBLAS REQUIRED IMPORTED_TARGET openblas)

# Imported, so that the installed package makes its own from the libtorch it finds.
add_library(eigenscale_torch INTERFACE IMPORTED)
target_include_directories(eigenscale_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
target_link_libraries(eigenscale_torch INTERFACE ${TORCH_LIBRARIES})

function(eigenscale_pkg_dependency name module)
  pkg_check_modules(${name} QUIET IMPORTED_TARGET ${module})
  if(NOT ${name}_FOUND)
    message(STATUS "eigenscale: ${module} not found, built without it")
    set(EIGENSCALE_WITH_${name} OFF PARENT_SCOPE)
  endif()
endfunction()

if(EIGENSCALE_WITH_SCALAPACK)
  eigenscale_pkg_dependency(SCALAPACK scalapack-openmpi)
endif()
if(EIGENSCALE_WITH_ELPA AND NOT EIGENSCALE_WITH_SCALAPACK)
  set(EIGENSCALE_WITH_ELPA OFF)
endif()
if(EIGENSCALE_WITH_ELPA)
  eigenscale_pkg_dependency(ELPA elpa)
endif()
if(EIGENSCALE_WITH_HDF5)
  eigenscale_pkg_dependency(HDF5 hdf5-openmpi)
endif()
