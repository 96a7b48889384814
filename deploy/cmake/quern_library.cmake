# SPDX-License-Identifier: Apache-2.0
# One target per folder. HEADERS are compiled alone by the target
# all_verify_interface_header_sets; DEPS appear in headers, PRIVATE_DEPS do not.
function(quern_library)
  cmake_parse_arguments(Q "" "NAME" "HEADERS;SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(quern_${Q_NAME} STATIC)
  add_library(quern::${Q_NAME} ALIAS quern_${Q_NAME})
  target_sources(quern_${Q_NAME} PRIVATE ${Q_SOURCES}
    PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${Q_HEADERS})
  target_link_libraries(quern_${Q_NAME}
    PUBLIC quern::options ${Q_DEPS} PRIVATE ${Q_PRIVATE_DEPS})
endfunction()

# A test program; LABELS is the first folder under tests/ (unit, e2e, ...).
function(quern_test)
  cmake_parse_arguments(Q "" "NAME" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${Q_NAME} ${Q_SOURCES})
  target_link_libraries(${Q_NAME}
    PRIVATE quern::options ${Q_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${Q_NAME} COMMAND ${Q_NAME})
  set_tests_properties(${Q_NAME} PROPERTIES LABELS "${Q_LABELS}")
endfunction()
