# Rules that no compiler checks, and a planted violation for each of them.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME house COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/house/house_test.py)
set_tests_properties(house PROPERTIES TIMEOUT 60)
