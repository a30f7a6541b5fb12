// Graphs: lists of captured work in the order of their capture, which is an order that their dependencies allow.
#include "driver.h"

#define GRAPH(handle)                                                                                       \
  auto it = driver.graphs.find((Graph*) handle);                                                            \
  if (it == driver.graphs.end())                                                                            \
    return complain(INVALID_VALUE, "%s of %p, which is no live graph", __func__, handle);                   \
  auto graph = it->second
#define EXECUTABLE(handle)                                                                                  \
  if (!driver.executables.count((Executable*) handle))                                                      \
    return complain(INVALID_VALUE, "%s of %p, which is no live executable graph", __func__, handle);        \
  auto executable = (Executable*) handle

API cuGraphInstantiateWithFlags(void** out, void* handle, unsigned long long) {
  ENTER();
  GRAPH(handle);
  auto e = new Executable{graph};
  driver.executables.insert(e);
  *out = e;
  return 0;
}

struct UpdateResult { int result; void *error_node, *error_from_node; };

API cuGraphExecUpdate_v2(void* exec, void* handle, UpdateResult* info) {
  ENTER();
  EXECUTABLE(exec);
  GRAPH(handle);
  auto &old = executable->graph->nodes, &now = graph->nodes;
  UpdateResult why = {0, nullptr, nullptr};
  if (old.size() != now.size()) why.result = 2;                            // topology changed
  for (size_t i = 0; i < old.size() && !why.result; i++) {
    if (old[i]->kind != now[i]->kind) why.result = 3;                      // node type changed
    else if (old[i]->after != now[i]->after) why.result = 2;
    else if (old[i]->shape != now[i]->shape) why.result = 5;               // a copy's direction
    if (why.result) why.error_node = now[i].get();
  }
  if (info) *info = why;
  if (why.result)
    return complain(GRAPH_UPDATE_FAILURE, "cuGraphExecUpdate: result %d, %zu nodes to %zu", why.result, old.size(), now.size());
  executable->graph = graph;
  return 0;
}

API cuGraphLaunch(void* exec, void* stream) {
  ENTER();
  EXECUTABLE(exec);
  auto graph = executable->graph;
  auto work = std::make_shared<Operation>();
  work->kind = Operation::GRAPH;
  work->name = "cuGraphLaunch";
  work->run = [graph] {
    driver.graph_launches++;
    for (auto& node : graph->nodes) if (int e = node->run()) return e;
    return 0;
  };
  return enqueue(stream, work);
}

API cuGraphGetNodes(void* handle, void** nodes, size_t* n) {
  ENTER();
  GRAPH(handle);
  if (nodes) for (size_t i = 0; i < *n; i++) nodes[i] = i < graph->nodes.size() ? graph->nodes[i].get() : nullptr;
  if (!nodes || *n > graph->nodes.size()) *n = graph->nodes.size();
  return 0;
}

/** 0 kernel, 1 memcpy, 2 memset, 4 graph, as CUgraphNodeType; a library's work counts as a kernel. */
API cuGraphNodeGetType(void* node, int* type) {
  ENTER();
  switch (((Operation*) node)->kind) {
    case Operation::COPY: *type = 1; break;
    case Operation::SET: *type = 2; break;
    case Operation::GRAPH: *type = 4; break;
    default: *type = 0;
  }
  return 0;
}

API cuGraphDestroy(void* handle) {
  ENTER();
  GRAPH(handle);
  driver.graphs.erase(it);
  return 0;
}

API cuGraphExecDestroy(void* exec) {
  ENTER();
  EXECUTABLE(exec);
  driver.executables.erase(executable);
  delete executable;
  return 0;
}

API cuGraphUpload(void* exec, void*) {
  ENTER();
  EXECUTABLE(exec);
  (void) executable;
  return 0;
}
