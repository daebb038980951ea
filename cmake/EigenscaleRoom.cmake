# eigenscale_add_room(NAME SOURCES file... [DEPENDS target...] [NO_TORCH])
#
# One static library per room of src/eigenscale, so that a room can link only what it may know.
# DEPENDS are passed on to users of the room. Rooms that see tensors share one precompiled
# <torch/torch.h>, which costs 13 s in every file otherwise.
include_guard(GLOBAL)

add_library(eigenscale_options INTERFACE)
target_compile_features(eigenscale_options INTERFACE cxx_std_20)
target_include_directories(eigenscale_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:include>)

# GCC 12 reports false overlaps inside std::string (GCC bug 105651).
set(EIGENSCALE_WARNINGS -Wall -Wextra $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
if(EIGENSCALE_WERROR)
  list(APPEND EIGENSCALE_WARNINGS -Werror)
endif()

function(eigenscale_add_room name)
  cmake_parse_arguments(ROOM "NO_TORCH" "" "SOURCES;DEPENDS" ${ARGN})
  set(target eigenscale_${name})
  add_library(${target} STATIC ${ROOM_SOURCES})
  add_library(eigenscale::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_compile_options(${target} PRIVATE ${EIGENSCALE_WARNINGS})
  target_link_libraries(${target} PUBLIC eigenscale_options ${ROOM_DEPENDS})
  if(NOT ROOM_NO_TORCH)
    eigenscale_use_torch(${target})
  endif()
  set_property(GLOBAL APPEND PROPERTY EIGENSCALE_ROOMS ${target})
endfunction()

# eigenscale_use_in_sources(TARGET DEPENDENCY file...): links an optional dependency whose headers only
# these files include. All others compile alike with and without it, and a compiler cache knows them.
function(eigenscale_use_in_sources target dependency)
  target_link_libraries(${target} PRIVATE $<LINK_ONLY:${dependency}>)
  set(options "")
  foreach(property IN ITEMS INTERFACE_COMPILE_OPTIONS INTERFACE_INCLUDE_DIRECTORIES)
    get_target_property(values ${dependency} ${property})
    if(NOT values) # libraries in the system's folders have none
      continue()
    endif()
    if(property STREQUAL "INTERFACE_INCLUDE_DIRECTORIES")
      # Named, these would come before those of the C++ library.
      list(REMOVE_ITEM values ${CMAKE_CXX_IMPLICIT_INCLUDE_DIRECTORIES})
      list(TRANSFORM values PREPEND "-isystem;")
    endif()
    list(APPEND options ${values})
  endforeach()
  set_source_files_properties(${ARGN} PROPERTIES
    SKIP_UNITY_BUILD_INCLUSION ON COMPILE_OPTIONS "${options}")
endfunction()

# The system-include form of Torch's own target, with the shared precompiled header.
function(eigenscale_use_torch target)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    target_link_libraries(${target} PUBLIC eigenscale_torch)
  else()
    target_link_libraries(${target} PRIVATE eigenscale_torch)
  endif()
  target_precompile_headers(${target} REUSE_FROM eigenscale_torch_header)
endfunction()

file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/torch_header.cpp "")
add_library(eigenscale_torch_header STATIC ${CMAKE_CURRENT_BINARY_DIR}/torch_header.cpp)
target_compile_options(eigenscale_torch_header PRIVATE ${EIGENSCALE_WARNINGS})
target_link_libraries(eigenscale_torch_header PRIVATE eigenscale_options eigenscale_torch)
target_precompile_headers(eigenscale_torch_header PRIVATE <torch/torch.h>)
