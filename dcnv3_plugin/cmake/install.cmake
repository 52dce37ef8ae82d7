# Installs the libraries into `lib`, beside Python modules as in ROS workspaces, and their headers.
install(TARGETS dcnv3_cpu LIBRARY DESTINATION lib)
if(TARGET dcnv3_cuda)
  install(TARGETS dcnv3_cuda LIBRARY DESTINATION lib)
endif()
install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/../include/dcnv3 DESTINATION include)
