# What an install holds, and what a source archive (cpack --config CPackSourceConfig.cmake).
include(CMakePackageConfigHelpers)

set(config_dir "${CMAKE_INSTALL_LIBDIR}/cmake/finesieve")
install(TARGETS finesieve EXPORT finesieveTargets)
install(EXPORT finesieveTargets NAMESPACE finesieve:: DESTINATION "${config_dir}")
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  PATTERN chat.h EXCLUDE)
install(DIRECTORY "${PROJECT_BINARY_DIR}/public/" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  FILES_MATCHING PATTERN "*.h")
if(FINESIEVE_CHAT)
  install(TARGETS finesieve-chat EXPORT finesieveChatTargets)
  install(EXPORT finesieveChatTargets NAMESPACE finesieve:: DESTINATION "${config_dir}")
  install(FILES include/finesieve/chat.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/finesieve")
endif()

configure_package_config_file(cmake/finesieveConfig.cmake.in finesieveConfig.cmake
  INSTALL_DESTINATION "${config_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(finesieveConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/finesieveConfig.cmake"
  "${PROJECT_BINARY_DIR}/finesieveConfigVersion.cmake" DESTINATION "${config_dir}")
install(FILES LICENSE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/finesieve")

set(CPACK_PACKAGE_NAME finesieve-cpp)
set(CPACK_SOURCE_GENERATOR TGZ)
set(CPACK_SOURCE_PACKAGE_FILE_NAME "finesieve-cpp-${PROJECT_VERSION}")
set(CPACK_SOURCE_IGNORE_FILES "/build/" "/conformance/" "/build-driver$" "/driver$" "/check$"
  "/\\\\.gitignore$" "/__pycache__/" "\\\\.pyi?$" "\\\\.sh$" "\\\\.binpb$" "/py\\\\.typed$")
set(CPACK_SOURCE_INSTALLED_DIRECTORIES
  "${PROJECT_SOURCE_DIR};/" "${FINESIEVE_PROTO_DIR};/proto")
include(CPack)
