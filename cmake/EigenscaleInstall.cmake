# What `cmake --install` puts where, and the package that find_package(eigenscale) finds there:
# the programs, one static library per room, the headers, and the targets eigenscale::<room> and
# eigenscale::eigenscale, which is all of them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(eigenscale_rooms GLOBAL PROPERTY EIGENSCALE_ROOMS)
get_property(eigenscale_apps GLOBAL PROPERTY EIGENSCALE_APPS)
set(eigenscale_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/eigenscale)

# A libtorch or MPI outside the system's folders is found again where it was linked.
if(eigenscale_apps)
  set_target_properties(${eigenscale_apps} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
endif()

set_target_properties(eigenscale_options PROPERTIES EXPORT_NAME options)
install(TARGETS eigenscale eigenscale_options ${eigenscale_rooms} EXPORT eigenscale
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ${eigenscale_apps} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/eigenscale DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h"
  PATTERN "hdf5_handle.h" EXCLUDE)  # needs the headers of HDF5, which users of the room do not
# The job scripts look for the programs in PATH where there is no build folder beside them.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/job-scripts
  DESTINATION ${CMAKE_INSTALL_DATADIR}/eigenscale USE_SOURCE_PERMISSIONS
  PATTERN install-dependencies EXCLUDE PATTERN quickstart EXCLUDE)
# `cmake --install --prefix` may name another prefix than the one configured.
install(CODE "set(PROJECT_VERSION ${PROJECT_VERSION})
  set(CMAKE_INSTALL_BINDIR ${CMAKE_INSTALL_BINDIR})
  set(CMAKE_INSTALL_DATADIR ${CMAKE_INSTALL_DATADIR})
  configure_file(${PROJECT_SOURCE_DIR}/packaging/modulefile.in
    \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/eigenscale/modulefiles/eigenscale/${PROJECT_VERSION}\" @ONLY)")
# Manual pages and completion come from what the programs say of themselves, so only where they run.
find_program(EIGENSCALE_PYTHON python3)
mark_as_advanced(EIGENSCALE_PYTHON)
if(EIGENSCALE_PYTHON AND eigenscale_apps AND NOT CMAKE_CROSSCOMPILING)
  install(CODE "set(share \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}\")
    execute_process(RESULT_VARIABLE code
      COMMAND ${EIGENSCALE_PYTHON} -B ${PROJECT_SOURCE_DIR}/packaging/write_manuals.py
        \"${PROJECT_BINARY_DIR}/apps\" \"\${share}/man/man1\" \"\${share}/bash-completion/completions\")
    if(NOT code EQUAL 0)
      message(WARNING \"installed without manual pages and completion: the programs do not run here\")
    endif()")
endif()
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/CITATION.cff
  DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT eigenscale NAMESPACE eigenscale:: FILE eigenscale-targets.cmake
  DESTINATION ${eigenscale_package_dir})
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/eigenscale-config.cmake.in
  ${PROJECT_BINARY_DIR}/eigenscale-config.cmake
  INSTALL_DESTINATION ${eigenscale_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/eigenscale-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/eigenscale-config.cmake
  ${PROJECT_BINARY_DIR}/eigenscale-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/EigenscaleDependencies.cmake
  ${PROJECT_SOURCE_DIR}/cmake/EigenscaleTorch.cmake
  DESTINATION ${eigenscale_package_dir})
