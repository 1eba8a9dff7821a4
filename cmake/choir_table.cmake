# choir_table(<out> <file.def> <macro>): the last argument of each line <macro>(...) of a table, in
# lower case and without repeats, so that a part's own line in the table also brings its files into
# the build.
function(choir_table out file macro)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(STRINGS ${file} lines REGEX "^${macro}\\(")
  set(names "")
  foreach(line ${lines})
    string(REGEX REPLACE "^${macro}\\((.*, *)?([A-Za-z0-9_]+)\\).*$" "\\2" name "${line}")
    string(TOLOWER "${name}" name)
    list(APPEND names ${name})
  endforeach()
  list(REMOVE_DUPLICATES names)
  set(${out} ${names} PARENT_SCOPE)
endfunction()
