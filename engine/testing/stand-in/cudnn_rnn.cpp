// The stand-in's recurrent networks: descriptors, sizes, checks of arguments, and the calls.
#include "cudnn_rnn.h"

#include <cstdio>

namespace {

enum { PERSIST_DYNAMIC = 2 };
const int LAUNCH_FAILED = 719;
const double FORWARD_DONE = 1, BACKWARD_DONE = 2;

size_t workspace_bytes(const Rnn& r, const RnnData& x) { return (size_t) (r.gates() + 2) * r.hidden * x.batch * r.directions * 4; }
size_t reserve_bytes(const Rnn& r, const RnnData& x) {
  return (HEADER + (int64_t) r.pseudo_layers() * x.steps * x.batch * r.record()) * sizeof(double);
}

int judge_data(const Rnn* r, const RnnData* x, const RnnData* y) {
  if (x->type != r->type || y->type != r->type) return fail(BAD_PARAM, "types: network %d, x %d, y %d", r->type, x->type, y->type);
  if (x->layout != y->layout || x->steps != y->steps || x->batch != y->batch) return fail(BAD_PARAM, "x and y differ in layout, steps or batch");
  if (memcmp(x->lengths, y->lengths, x->batch * sizeof(int))) return fail(BAD_PARAM, "x and y differ in the lengths of sequences");
  if (x->size != r->input || y->size != r->hidden * r->directions)
    return fail(BAD_PARAM, "vectors of %d and %d, but the network is from %d to %d", x->size, y->size, r->input, r->hidden * r->directions);
  if (x->layout != PACKED && !(r->flags & 1)) return fail(NOT_SUPPORTED, "an unpacked layout without CUDNN_RNN_PADDED_IO_ENABLED");
  return OK;
}

/** Checks the states of one kind: (layers, B, H), packed. */
int judge_states(const Rnn* r, const RnnData* x, const Tensor* desc, const char* name, std::initializer_list<const void*> states) {
  for (const void* s : states) if (s) {
    if (!live(desc, name)) return BAD_PARAM;
    if (desc->type != r->type || desc->n != 3 || desc->size[0] != r->pseudo_layers() || desc->size[1] != x->batch
        || desc->size[2] != r->hidden) return fail(BAD_PARAM, "%s does not have the sizes (layers, B, hidden)", name);
    if (desc->stride[2] != 1 || desc->stride[1] != r->hidden || desc->stride[0] != (int64_t) x->batch * r->hidden)
      return fail(BAD_PARAM, "%s is not packed", name);
    CHECK(in_memory(*desc, s, name));
  }
  return OK;
}

int judge_spaces(const Rnn* r, const RnnData* x, size_t weight_bytes, const void* weights, size_t workspace_given,
                 const void* workspace, size_t reserve_given, const void* reserve, const int* lengths) {
  if (weight_bytes < r->weight_bytes()) return fail(BAD_PARAM, "a weight space of %zu bytes and not %zu", weight_bytes, r->weight_bytes());
  if (workspace_given < workspace_bytes(*r, *x)) return fail(BAD_PARAM, "a workspace of %zu bytes and not %zu", workspace_given, workspace_bytes(*r, *x));
  CHECK(in_memory(weights, weight_bytes, bytes_of(r->type), "the weight space"));
  CHECK(in_memory(workspace, workspace_given, 16, "the workspace"));
  if (lengths) CHECK(in_memory(lengths, x->batch * sizeof(int), 4, "devSeqLengths"));
  if (!reserve) return OK;
  if (reserve_given < reserve_bytes(*r, *x)) return fail(BAD_PARAM, "a reserve space of %zu bytes and not %zu", reserve_given, reserve_bytes(*r, *x));
  return in_memory(reserve, reserve_given, 16, "the reserve space");
}

/** While running: 0, or an error if the lengths on the device are others, or the reserve space is not of such a call. */
int judge_contents(const RnnData& x, const int* lengths, const double* reserve, double stage) {
  if (lengths && memcmp(lengths, x.lengths, x.batch * sizeof(int)))
    return fprintf(stderr, "heddle stand-in: cuDNN: devSeqLengths are not those of the descriptor\n"), LAUNCH_FAILED;
  if (reserve && (!(reserve[0] >= stage) || reserve[1] != (double) x.steps * x.batch))
    return fprintf(stderr, "heddle stand-in: cuDNN: the reserve space was not filled by the calls that come before\n"), LAUNCH_FAILED;
  return 0;
}

}  // namespace

API int cudnnCreateRNNDescriptor(Rnn** out) { BEGIN(); return create(out); }
API int cudnnDestroyRNNDescriptor(Rnn* r) { BEGIN(); return destroy(r); }
API int cudnnSetRNNDescriptor_v8(Rnn* rnn, int algo, int cell, int bias, int direction, int input_mode, int type, int precision,
                                 int math, int input, int hidden, int projection, int layers, const Dropout* dropout, unsigned flags) {
  BEGIN();
  if (!live(rnn, "rnnDesc", false)) return BAD_PARAM;
  if (algo < 0 || algo > 3 || cell < 0 || cell > GRU || bias < 0 || bias > STATE_BIAS || direction < 0 || direction > 1
      || input_mode < 0 || input_mode > 1 || math < 0 || math > 3)
    return fail(BAD_PARAM, "algo %d, cell %d, bias %d, direction %d, input mode %d or math %d", algo, cell, bias, direction, input_mode, math);
  if (input < 1 || hidden < 1 || layers < 1 || projection < 1 || projection > hidden || (projection != hidden && cell != LSTM))
    return fail(BAD_PARAM, "sizes: input %d, hidden %d, projection %d, layers %d", input, hidden, projection, layers);
  if (algo == PERSIST_DYNAMIC || input_mode || projection != hidden) return fail(NOT_SUPPORTED, "the stand-in has no dynamic algorithm, skipped input or projection");
  bool types = type == F64 ? precision == F64 && !math : type == F32 || type == BF16 ? precision == F32
      : type == F16 && (precision == F16 || precision == F32);
  if (!types) return fail(NOT_SUPPORTED, "data of type %d, computed in type %d with math %d", type, precision, math);
  if (dropout) {
    LIVE(dropout);
    if (dropout->probability > 0 && !dropout->states) return fail(BAD_PARAM, "dropout without states");
  }
  int directions = direction + 1;
  rnn->cell = cell;
  rnn->bias = bias;
  rnn->directions = directions;
  rnn->type = type;
  rnn->input = input;
  rnn->hidden = hidden;
  rnn->layers = layers;
  rnn->flags = (int) flags;
  rnn->dropout = dropout;
  rnn->set = true;
  return OK;
}

API int cudnnCreateRNNDataDescriptor(RnnData** out) { BEGIN(); return create(out); }
API int cudnnDestroyRNNDataDescriptor(RnnData* d) { BEGIN(); return destroy(d); }
API int cudnnSetRNNDataDescriptor(RnnData* data, int type, int layout, int steps, int batch, int size, const int* lengths, const void* padding) {
  BEGIN();
  if (!live(data, "rnnDataDesc", false)) return BAD_PARAM;
  if (type != F32 && type != F64 && type != F16 && type != BF16) return fail(NOT_SUPPORTED, "data of type %d", type);
  if (layout < 0 || layout > BATCH_MAJOR || steps < 1 || batch < 1 || size < 1 || !lengths)
    return fail(BAD_PARAM, "layout %d, %d steps, batch of %d, vectors of %d, lengths at %p", layout, steps, batch, size, (const void*) lengths);
  for (int b = 0; b < batch; b++) {
    if (lengths[b] < 0 || lengths[b] > steps) return fail(BAD_PARAM, "sequence %d has %d of %d steps", b, lengths[b], steps);
    if (layout == PACKED && b && lengths[b] > lengths[b - 1]) return fail(BAD_PARAM, "packed sequences must become shorter");
  }
  auto copy = new int[batch];
  memcpy(copy, lengths, batch * sizeof(int));
  data->type = type;
  data->layout = layout;
  data->steps = steps;
  data->batch = batch;
  data->size = size;
  data->lengths = copy;
  data->fills = padding;
  data->padding = padding ? load((const char*) padding, type, 0) : 0;
  data->set = true;
  return OK;
}

API int cudnnGetRNNWeightSpaceSize(Handle* handle, const Rnn* rnn, size_t* bytes) {
  BEGIN();
  LIVE(handle);
  LIVE(rnn);
  *bytes = rnn->weight_bytes();
  return OK;
}
API int cudnnGetRNNWeightParams(Handle* handle, const Rnn* rnn, int pseudo, size_t bytes, char* weights, int linear,
                                Tensor* matrix_desc, char** matrix, Tensor* bias_desc, char** bias) {
  BEGIN();
  LIVE(handle);
  LIVE(rnn);
  if (!live(matrix_desc, "mDesc", false) || !live(bias_desc, "bDesc", false)) return BAD_PARAM;
  if (pseudo < 0 || pseudo >= rnn->pseudo_layers() || linear < 0 || linear >= 2 * rnn->gates() || !matrix || !bias)
    return fail(BAD_PARAM, "pseudo layer %d, matrix %d, or no place for the results", pseudo, linear);
  if (bytes < rnn->weight_bytes()) return fail(BAD_PARAM, "a weight space of %zu bytes and not %zu", bytes, rnn->weight_bytes());
  auto describe = [&](Tensor* t, bool there, int64_t rows, int64_t columns) {
    t->set = true;
    t->type = rnn->type;
    t->n = there ? 3 : 0;
    t->size[0] = 1;
    t->size[1] = rows;
    t->size[2] = columns;
    t->stride[0] = rows * columns;
    t->stride[1] = columns;
    t->stride[2] = 1;
  };
  size_t element = bytes_of(rnn->type);
  bool biased = rnn->has_bias(linear);
  describe(matrix_desc, true, rnn->hidden, linear < rnn->gates() ? rnn->width(pseudo) : rnn->hidden);
  describe(bias_desc, biased, rnn->hidden, 1);
  *matrix = weights + rnn->matrix(pseudo, linear) * element;
  *bias = biased ? weights + rnn->bias_at(pseudo, linear) * element : nullptr;
  return OK;
}
API int cudnnGetRNNTempSpaceSizes(Handle* handle, const Rnn* rnn, int training, const RnnData* x_desc, size_t* workspace, size_t* reserve) {
  BEGIN();
  LIVE(handle);
  LIVE(rnn);
  LIVE(x_desc);
  if (training < 0 || training > 1) return fail(BAD_PARAM, "forward mode %d", training);
  if (workspace) *workspace = workspace_bytes(*rnn, *x_desc);
  if (reserve) *reserve = training ? reserve_bytes(*rnn, *x_desc) : 0;
  return OK;
}

API int cudnnRNNForward(Handle* handle, const Rnn* rnn, int training, const int* lengths, const RnnData* x_desc, const char* x,
                        const RnnData* y_desc, char* y, const Tensor* h_desc, const char* hx, char* hy, const Tensor* c_desc,
                        const char* cx, char* cy, size_t weight_bytes, const char* weights, size_t workspace_given,
                        char* workspace, size_t reserve_given, double* reserve) {
  BEGIN();
  LIVE(handle);
  LIVE(rnn);
  LIVE(x_desc);
  LIVE(y_desc);
  if (training < 0 || training > 1) return fail(BAD_PARAM, "forward mode %d", training);
  CHECK(judge_data(rnn, x_desc, y_desc));
  CHECK(judge_states(rnn, x_desc, h_desc, "hDesc", {hx, hy}));
  if (rnn->cell == LSTM) CHECK(judge_states(rnn, x_desc, c_desc, "cDesc", {cx, cy}));
  if (training && !reserve) return fail(BAD_PARAM, "training without a reserve space");
  CHECK(judge_spaces(rnn, x_desc, weight_bytes, weights, workspace_given, workspace, reserve_given, training ? reserve : nullptr, lengths));
  CHECK(in_memory(x, x_desc->bytes(), bytes_of(rnn->type), "x"));
  CHECK(in_memory(y, y_desc->bytes(), bytes_of(rnn->type), "y"));
  float probability = training && rnn->dropout ? rnn->dropout->probability : 0;
  uint64_t* states = probability > 0 ? rnn->dropout->states : nullptr;
  return submit(handle, [=, r = *rnn, xd = *x_desc, yd = *y_desc] {
    if (int e = judge_contents(xd, lengths, nullptr, 0)) return e;
    memset(workspace, 0xff, workspace_given);
    std::vector<double> own(training ? 0 : reserve_bytes(r, xd) / sizeof(double));
    double* kept = training ? reserve : own.data();
    Run(r, xd, yd, weights, kept).forward(x, y, hx, hy, cx, cy, probability, states);
    kept[0] = FORWARD_DONE;
    kept[1] = (double) xd.steps * xd.batch;
    return 0;
  });
}

API int cudnnRNNBackwardData_v8(Handle* handle, const Rnn* rnn, const int* lengths, const RnnData* y_desc, const char* y,
                                const char* dy, const RnnData* x_desc, char* dx, const Tensor* h_desc, const char* hx,
                                const char* dhy, char* dhx, const Tensor* c_desc, const char* cx, const char* dcy, char* dcx,
                                size_t weight_bytes, const char* weights, size_t workspace_given, char* workspace,
                                size_t reserve_given, double* reserve) {
  BEGIN();
  LIVE(handle);
  LIVE(rnn);
  LIVE(x_desc);
  LIVE(y_desc);
  CHECK(judge_data(rnn, x_desc, y_desc));
  CHECK(judge_states(rnn, x_desc, h_desc, "hDesc", {hx, dhy, dhx}));
  if (rnn->cell == LSTM) CHECK(judge_states(rnn, x_desc, c_desc, "cDesc", {cx, dcy, dcx}));
  if (!reserve) return fail(BAD_PARAM, "no reserve space");
  CHECK(judge_spaces(rnn, x_desc, weight_bytes, weights, workspace_given, workspace, reserve_given, reserve, lengths));
  CHECK(in_memory(y, y_desc->bytes(), bytes_of(rnn->type), "y"));
  CHECK(in_memory(dy, y_desc->bytes(), bytes_of(rnn->type), "dy"));
  CHECK(in_memory(dx, x_desc->bytes(), bytes_of(rnn->type), "dx"));
  return submit(handle, [=, r = *rnn, xd = *x_desc, yd = *y_desc] {
    if (int e = judge_contents(xd, lengths, reserve, FORWARD_DONE)) return e;
    memset(workspace, 0xff, workspace_given);
    Run(r, xd, yd, weights, reserve).backward_data(dy, dx, hx, dhy, dhx, cx, dcy, dcx);
    reserve[0] = BACKWARD_DONE;
    return 0;
  });
}

API int cudnnRNNBackwardWeights_v8(Handle* handle, const Rnn* rnn, int mode, const int* lengths, const RnnData* x_desc, const char* x,
                                   const Tensor* h_desc, const char* hx, const RnnData* y_desc, const char* y, size_t weight_bytes,
                                   char* dweights, size_t workspace_given, char* workspace, size_t reserve_given, double* reserve) {
  BEGIN();
  LIVE(handle);
  LIVE(rnn);
  LIVE(x_desc);
  LIVE(y_desc);
  if (mode) return fail(NOT_SUPPORTED, "only CUDNN_WGRAD_MODE_ADD");
  CHECK(judge_data(rnn, x_desc, y_desc));
  CHECK(judge_states(rnn, x_desc, h_desc, "hDesc", {hx}));
  if (!reserve) return fail(BAD_PARAM, "no reserve space");
  CHECK(judge_spaces(rnn, x_desc, weight_bytes, dweights, workspace_given, workspace, reserve_given, reserve, lengths));
  CHECK(in_memory(x, x_desc->bytes(), bytes_of(rnn->type), "x"));
  CHECK(in_memory(y, y_desc->bytes(), bytes_of(rnn->type), "y"));
  return submit(handle, [=, r = *rnn, xd = *x_desc, yd = *y_desc] {
    if (int e = judge_contents(xd, lengths, reserve, BACKWARD_DONE)) return e;
    memset(workspace, 0xff, workspace_given);
    Run run(r, xd, yd, nullptr, reserve);
    run.backward_weights(x, hx);
    for (size_t i = 0; i < run.weights.size(); i++) store(dweights, r.type, i, load(dweights, r.type, i) + run.weights[i]);
    return 0;
  });
}
