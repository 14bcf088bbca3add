# The development package: what `cmake --install` puts under a prefix. Components: runtime (kogge, libkogge, plugins),
# development (headers, pkg-config, CMake), kube (the library that Kubernetes plugins share).
include(CMakePackageConfigHelpers)
set(KOGGE_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/Kogge)

# Public headers are those of include/; host.h and sim.h are for programs and tests around a kernel.
install(DIRECTORY bus/include/kogge core/include/kogge DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
        FILES_MATCHING PATTERN "*.h")
install(DIRECTORY plugins/kube/include/kube DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/kogge-kube COMPONENT kube
        FILES_MATCHING PATTERN "*.h")
install(TARGETS kogge kogge-api EXPORT kogge
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT runtime
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT development)
install(TARGETS kogge-pause RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/kogge COMPONENT runtime)
install(TARGETS kube EXPORT kogge-kube ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT kube)
install(FILES deploy/kogge.yaml DESTINATION ${CMAKE_INSTALL_DATADIR}/kogge COMPONENT runtime)

# The unit names the program where it is put, which is known only then (--prefix).
install(CODE "
  file(READ \"${CMAKE_SOURCE_DIR}/deploy/kogge.service\" unit)
  string(REPLACE /usr/local/bin \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\" unit \"\${unit}\")
  file(WRITE \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/system/kogge.service\" \"\${unit}\")" COMPONENT runtime)

install(EXPORT kogge NAMESPACE Kogge:: FILE KoggeTargets.cmake DESTINATION ${KOGGE_CMAKE_DIR} COMPONENT development)
install(EXPORT kogge-kube NAMESPACE Kogge:: FILE KoggeKubeTargets.cmake DESTINATION ${KOGGE_CMAKE_DIR} COMPONENT kube)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/KoggeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES core/cmake/KoggeConfig.cmake core/cmake/kogge-plugin.cmake ${CMAKE_BINARY_DIR}/KoggeConfigVersion.cmake
        DESTINATION ${KOGGE_CMAKE_DIR} COMPONENT development)

# The prefix follows from where the file lies: the package may be moved, and DESTDIR needs no care.
file(RELATIVE_PATH KOGGE_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(core/cmake/kogge.pc.in kogge.pc @ONLY)
configure_file(core/cmake/kogge-kube.pc.in kogge-kube.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/kogge.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
install(FILES ${CMAKE_BINARY_DIR}/kogge-kube.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT kube)
