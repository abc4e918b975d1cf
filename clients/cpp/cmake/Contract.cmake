# Generate C++ from .proto files when the library is built.

# Beside this folder in a source archive, two folders up in the repository.
set(FINESIEVE_PROTO_DIR "" CACHE PATH "The folder that holds finesieve/v1/*.proto")
if(NOT FINESIEVE_PROTO_DIR)
  foreach(candidate IN ITEMS "${PROJECT_SOURCE_DIR}/proto" "${PROJECT_SOURCE_DIR}/../../proto")
    if(EXISTS "${candidate}/finesieve/v1/search.proto")
      get_filename_component(FINESIEVE_PROTO_DIR "${candidate}" ABSOLUTE)
      break()
    endif()
  endforeach()
endif()
if(NOT EXISTS "${FINESIEVE_PROTO_DIR}/finesieve/v1/search.proto")
  message(FATAL_ERROR
    "There is no finesieve/v1/search.proto in FINESIEVE_PROTO_DIR (\"${FINESIEVE_PROTO_DIR}\")")
endif()

# Add to TARGET what protoc makes of files in FOLDER, and of SERVICES gRPC's plugin, too. PUBLIC
# headers can be included by those who link TARGET, PRIVATE ones by TARGET alone.
function(finesieve_generate target visibility folder)
  cmake_parse_arguments(PARSE_ARGV 3 arg "" "" "MESSAGES;SERVICES")
  string(TOLOWER "${visibility}" room)
  set(out "${PROJECT_BINARY_DIR}/${room}")
  file(MAKE_DIRECTORY "${out}")
  foreach(file IN LISTS arg_MESSAGES arg_SERVICES)
    string(REGEX REPLACE "\\.proto$" "" stem "${file}")
    set(outputs "${out}/${stem}.pb.h" "${out}/${stem}.pb.cc")
    set(grpc_options "")
    if(file IN_LIST arg_SERVICES)
      list(APPEND outputs "${out}/${stem}.grpc.pb.h" "${out}/${stem}.grpc.pb.cc")
      set(grpc_options "--grpc_out=${out}"
        "--plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>")
    endif()
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND protobuf::protoc "--proto_path=${folder}" "--cpp_out=${out}" ${grpc_options} "${file}"
      DEPENDS "${folder}/${file}"
      COMMENT "Generating C++ from ${file}"
      VERBATIM)
    target_sources(${target} PRIVATE ${outputs})
  endforeach()
  target_include_directories(${target} SYSTEM ${visibility} "$<BUILD_INTERFACE:${out}>")
endfunction()
