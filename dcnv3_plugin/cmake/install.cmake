# Installs the libraries into `lib`, beside Python modules as in ROS workspaces, and their headers.
foreach(library dcnv3_cpu dcnv3_cuda dcnv3_tensorrt dcnv3_onnxruntime)
  if(TARGET ${library})
    install(TARGETS ${library} LIBRARY DESTINATION lib)
  endif()
endforeach()
install(DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/../include/dcnv3 DESTINATION include)
