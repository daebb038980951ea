# Finds libtorch, headers and libraries from one place.
#
# Torch's own package looks for its libraries in the system's folders first: where Debian's libtorch
# is installed as well, CMAKE_PREFIX_PATH would give the headers of one and libtorch.so of the other.
# Also included by the installed package.
include_guard(DIRECTORY)

# CMAKE_PREFIX_PATH names the folder of libtorch, or the folder of its CMake files.
set(eigenscale_prefixes ${CMAKE_PREFIX_PATH} "$ENV{CMAKE_PREFIX_PATH}")
string(REPLACE ":" ";" eigenscale_prefixes "${eigenscale_prefixes}")
foreach(prefix IN LISTS eigenscale_prefixes)
  foreach(library ${prefix}/lib ${prefix}/../../lib)
    if(NOT TORCH_LIBRARY AND EXISTS ${library}/libtorch.so AND EXISTS ${library}/libc10.so)
      get_filename_component(library ${library} ABSOLUTE)
      set(TORCH_LIBRARY ${library}/libtorch.so CACHE FILEPATH "libtorch")
      set(C10_LIBRARY ${library}/libc10.so CACHE FILEPATH "libtorch's core")
      set(c10_LIBRARY ${library}/libc10.so CACHE FILEPATH "libtorch's core")
    endif()
  endforeach()
endforeach()

# A libtorch with CUDA asks for these; without a list it would look for a GPU on this machine.
if(NOT DEFINED TORCH_CUDA_ARCH_LIST AND NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST})
  set(TORCH_CUDA_ARCH_LIST "8.0;9.0" CACHE STRING "Compute capabilities that libtorch is asked for")
endif()

find_package(Torch REQUIRED)

cmake_path(IS_PREFIX TORCH_INSTALL_PREFIX "${TORCH_LIBRARY}" NORMALIZE eigenscale_one_torch)
if(NOT eigenscale_one_torch)
  message(FATAL_ERROR "eigenscale: two libtorches are mixed: the headers are those of "
    "'${TORCH_INSTALL_PREFIX}', the library is '${TORCH_LIBRARY}'. Clear the build folder and give "
    "the folder of one of them as -DCMAKE_PREFIX_PATH, or its library as -DTORCH_LIBRARY")
endif()
