# What `cmake --install` puts where, under the prefix:
#   bin/                       choir, choird, choir-coordinator
#   share/choir/demo           the demo's model and texts (`choir demo` looks there first)
#   share/choir/configs        settings with every key explained
#   share/doc/choir            README, CHANGELOG, LICENSE, docs/
#   share/man/man1             what --help says, for `man`
#   lib/systemd/{system,user}  units that name the programs where they are
include(GNUInstallDirs)
set(choir_programs choir choird choir-coordinator)
install(TARGETS ${choir_programs} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY deploy/demo/ DESTINATION ${CMAKE_INSTALL_DATADIR}/choir/demo)
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/choir/configs)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
# These depend on the prefix, which is known only when it is done.
install(CODE "
  set(source \"${PROJECT_SOURCE_DIR}\")
  set(bin \"${CMAKE_INSTALL_BINDIR}\")
  set(doc \"${CMAKE_INSTALL_DOCDIR}\")
  set(man \"${CMAKE_INSTALL_MANDIR}\")
  set(version \"${PROJECT_VERSION}\")
  set(programs ${choir_programs})")
install(SCRIPT ${CMAKE_CURRENT_LIST_DIR}/install_texts.cmake)
