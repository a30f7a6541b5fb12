// Checks of the cuDNN stand-in: what all of its parts share, then each part.
#include "cudnn.h"

void cudnn() {
  check(((size_t (*)()) dlsym(dnn_library, "cudnnGetVersion"))() == 91900, "cuDNN's version");
  check(((const char* (*)(int)) dlsym(dnn_library, "cudnnGetErrorString"))(2000) == std::string("CUDNN_STATUS_BAD_PARAM"), "a status by name");
  check(dnn("cudnnCreate", &dnn_handle) == 0 && dnn("cudnnSetStream", dnn_handle, stream) == 0, "a handle");
  void *tensor, *graph;
  int sizes[] = {2, 0, 3, 4}, strides[] = {12, 12, 4, 1};
  dnn("cudnnCreateTensorDescriptor", &tensor);
  check(dnn("cudnnSetTensorNdDescriptor", tensor, F32, 4, (const int*) sizes, (const int*) strides) == 2000, "a size of 0 is refused");
  check(dnn("cudnnSetTensorNdDescriptor", tensor, F32, 2, (const int*) sizes, (const int*) strides) == 3000, "two dimensions are refused");
  check(dnn("cudnnDestroyTensorDescriptor", tensor) == 0 && dnn("cudnnDestroyTensorDescriptor", tensor) == 2000, "a second destroy is refused");
  dnn_error();
  convolutions();
  poolings();
  batch_norms();
  recurrent();
  void* second;
  cu("cuStreamBeginCapture_v2", stream, 1);
  check(dnn("cudnnCreate", &second) == 1001, "a handle cannot be made in a capture");
  cu("cuStreamEndCapture", stream, &graph);
  check(cu("heddleStandInCheckGuards") == 0, "nothing was written behind a block");
  check(dnn("cudnnDestroy", dnn_handle) == 0 && dnn("cudnnSetStream", dnn_handle, stream) == 2000, "a destroyed handle is refused");
}
