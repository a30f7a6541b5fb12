// Streams, events and stream capture.
#include "driver.h"

#include <chrono>

static double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::shared_ptr<Stream> stream_of(void* handle) {
  auto key = (uintptr_t) handle <= 2 ? nullptr : (Stream*) handle;
  if (!key) {
    auto& legacy = driver.streams[nullptr];
    if (!legacy) legacy = std::make_shared<Stream>();
    return legacy;
  }
  auto it = driver.streams.find(key);
  return it == driver.streams.end() ? nullptr : it->second;
}

static std::vector<std::shared_ptr<Capture>> active_captures() {
  std::vector<std::shared_ptr<Capture>> live;
  for (size_t i = 0; i < driver.captures.size();) {
    if (auto c = driver.captures[i].lock()) { live.push_back(c); i++; }
    else driver.captures.erase(driver.captures.begin() + i);
  }
  return live;
}

int forbid_in_capture(const char* call) {
  for (auto& c : active_captures()) {
    if (c->mode == 2 || (c->mode == 1 && c->thread != thread_id())) continue;
    c->invalid = true;
    return complain(CAPTURE_UNSUPPORTED, "%s while a stream is being captured", call);
  }
  return 0;
}

int drain(const std::shared_ptr<Stream>& stream, const Mark* until) {
  while (!driver.sticky && !stream->pending.empty() && !(until && until->done)) {
    Work work = stream->pending.front();
    stream->pending.pop_front();
    if (int e = work->run()) driver.sticky = e;
  }
  if (driver.sticky) for (auto& s : driver.streams) s.second->pending.clear();
  return driver.sticky;
}

int drain_all() {
  auto all = driver.streams;
  for (auto& s : all) drain(s.second);
  return driver.sticky;
}

int enqueue(void* handle, Work work) {
  auto stream = stream_of(handle);
  if (!stream) return complain(INVALID_HANDLE, "%s on %p, which is no live stream", work->name.c_str(), handle);
  if (auto capture = stream->capture) {
    if (capture->invalid) return CAPTURE_INVALIDATED;
    auto node = std::make_shared<Operation>(*work);
    node->after.assign(stream->last.begin(), stream->last.end());
    stream->last = {(int) capture->graph.nodes.size()};
    capture->graph.nodes.push_back(node);
    return 0;
  }
  bool legacy = (uintptr_t) handle <= 2;
  for (auto& s : driver.streams) {             // the legacy stream waits for blocking ones, and they for it
    if (s.second == stream || (s.second->flags & 1)) continue;
    if (legacy && s.second->capture) {
      s.second->capture->invalid = true;
      return complain(CAPTURE_IMPLICIT, "%s on the default stream while a blocking stream is captured", work->name.c_str());
    }
    if ((legacy || (!s.first && !(stream->flags & 1))) && !s.second->pending.empty()) if (int e = drain(s.second)) return e;
  }
  stream->pending.push_back(work);
  return driver.eager || stream->pending.size() > 1000 ? drain(stream) : 0;
}

/** For the library stand-ins: queues (or captures) a call of `run` with a copy of the `size` bytes at `arguments`. */
API heddleStandInEnqueue(void* stream, const char* name, int (*run)(const void*), const void* arguments, size_t size) {
  ENTER();
  auto copy = std::make_shared<std::vector<char>>((const char*) arguments, (const char*) arguments + size);
  auto work = std::make_shared<Operation>();
  work->kind = Operation::LIBRARY;
  work->name = name;
  work->run = [=] { return run(copy->data()); };
  return enqueue(stream, work);
}

// ---- streams

API cuStreamCreate(void** out, unsigned flags) {
  ENTER();
  if (!out || flags > 1) return INVALID_VALUE;
  auto s = std::make_shared<Stream>();
  s->flags = flags;
  driver.streams[s.get()] = s;
  *out = s.get();
  return 0;
}
API cuStreamCreateWithPriority(void** out, unsigned flags, int) { return cuStreamCreate(out, flags); }
#define STREAM(handle)                                                                                      \
  auto s = stream_of(handle);                                                                               \
  if (!s) return complain(INVALID_HANDLE, "%s of %p, which is no live stream", __func__, handle)
API cuStreamDestroy_v2(void* stream) {
  ENTER();
  if ((uintptr_t) stream <= 2) return INVALID_VALUE;
  STREAM(stream);
  int e = drain(s);
  driver.streams.erase((Stream*) stream);
  return e;
}
API cuStreamSynchronize(void* stream) {
  ENTER();
  STREAM(stream);
  if (s->capture) {
    s->capture->invalid = true;
    return complain(CAPTURE_UNSUPPORTED, "cuStreamSynchronize of a captured stream");
  }
  return (uintptr_t) stream <= 2 ? drain_all() : drain(s);
}
API cuStreamQuery(void* stream) {              // says 'not ready' once while work is pending, so that callers handle it
  ENTER();
  STREAM(stream);
  if (s->capture) { s->capture->invalid = true; return CAPTURE_UNSUPPORTED; }
  if (s->pending.empty()) return 0;
  int e = drain(s);
  return e ? e : NOT_READY;
}
API cuStreamIsCapturing(void* stream, int* status) {
  ENTER();
  STREAM(stream);
  *status = !s->capture ? 0 : s->capture->invalid ? 2 : 1;
  return 0;
}

// ---- events

#define EVENT(handle)                                                                                       \
  if (!driver.events.count((Event*) handle))                                                                \
    return complain(INVALID_HANDLE, "%s of %p, which is no live event", __func__, handle);                  \
  auto event = (Event*) handle
API cuEventCreate(void** out, unsigned flags) {
  ENTER();
  auto e = new Event;
  e->flags = flags;
  driver.events.insert(e);
  *out = e;
  return 0;
}
API cuEventDestroy_v2(void* handle) {
  ENTER();
  EVENT(handle);
  driver.events.erase(event);
  delete event;
  return 0;
}
API cuEventRecord(void* handle, void* stream) {
  ENTER();
  EVENT(handle);
  STREAM(stream);
  auto mark = std::make_shared<Mark>();
  mark->stream = s;
  event->mark = mark;
  if (s->capture) {
    mark->capture = s->capture;
    mark->nodes = s->last;
    return 0;
  }
  auto work = std::make_shared<Operation>();
  work->kind = Operation::RECORD;
  work->name = "cuEventRecord";
  work->run = [mark] { mark->done = true; mark->milliseconds = now(); mark->stream = nullptr; return 0; };
  return enqueue(stream, work);
}
API cuStreamWaitEvent(void* stream, void* handle, unsigned) {
  ENTER();
  EVENT(handle);
  STREAM(stream);
  auto mark = event->mark;
  if (!mark) return 0;
  if (mark->capture) {                         // the stream joins the capture
    if (s->capture && s->capture != mark->capture) return complain(CAPTURE_MERGE, "an event of another capture");
    if (!s->capture) {
      bool over = true;
      for (auto& c : active_captures()) if (c == mark->capture) over = mark->stream->capture != c;
      if (over) return complain(INVALID_VALUE, "waiting for an event recorded in a capture that has ended");
      s->capture = mark->capture;
      s->last.clear();
    }
    s->last.insert(mark->nodes.begin(), mark->nodes.end());
    return 0;
  }
  if (s->capture) {
    s->capture->invalid = true;
    return complain(905, "a captured stream waits for an event recorded outside of the capture");
  }
  auto work = std::make_shared<Operation>();
  work->kind = Operation::WAIT;
  work->name = "cuStreamWaitEvent";
  work->run = [mark] { auto other = mark->stream; return mark->done || !other ? 0 : drain(other, mark.get()); };
  return enqueue(stream, work);
}
API cuEventQuery(void* handle) {               // says 'not ready' once while work is pending, so that callers handle it
  ENTER();
  EVENT(handle);
  auto mark = event->mark;
  if (mark && mark->capture) return CAPTURED_EVENT;
  if (!mark || mark->done) return 0;
  int e = drain(std::shared_ptr<Stream>(mark->stream), mark.get());
  return e ? e : NOT_READY;
}
API cuEventSynchronize(void* handle) {
  ENTER();
  EVENT(handle);
  auto mark = event->mark;
  if (mark && mark->capture) return CAPTURED_EVENT;
  return !mark || mark->done ? 0 : drain(std::shared_ptr<Stream>(mark->stream), mark.get());
}
API cuEventElapsedTime(float* milliseconds, void* from, void* to) {
  ENTER();
  for (void* handle : {from, to}) {
    EVENT(handle);
    if (event->flags & 2) return complain(INVALID_HANDLE, "cuEventElapsedTime of an event without timing");
    if (!event->mark) return complain(INVALID_HANDLE, "cuEventElapsedTime of an event that was not recorded");
    if (!event->mark->done) return NOT_READY;
  }
  *milliseconds = (float) (((Event*) to)->mark->milliseconds - ((Event*) from)->mark->milliseconds);
  return 0;
}
API cuEventElapsedTime_v2(float* milliseconds, void* from, void* to) { return cuEventElapsedTime(milliseconds, from, to); }

// ---- capture

API cuStreamBeginCapture_v2(void* stream, int mode) {
  ENTER();
  if ((uintptr_t) stream <= 2) return complain(CAPTURE_UNSUPPORTED, "the default stream cannot be captured");
  STREAM(stream);
  if (mode < 0 || mode > 2 || s->capture) return INVALID_VALUE;
  auto c = std::make_shared<Capture>();
  c->origin = s.get();
  c->mode = mode;
  c->thread = thread_id();
  s->capture = c;
  s->last.clear();
  driver.captures.push_back(c);
  return 0;
}
API cuStreamEndCapture(void* stream, void** out) {
  ENTER();
  STREAM(stream);
  *out = nullptr;
  auto c = s->capture;
  if (!c) return complain(INVALID_VALUE, "cuStreamEndCapture of a stream that is not captured");
  if (c->origin != s.get()) return CAPTURE_UNMATCHED;
  if (c->mode != 2 && c->thread != thread_id()) return CAPTURE_WRONG_THREAD;
  // Every branch must have been joined: from the last nodes of the origin, all nodes are reached.
  std::set<int> reached = s->last;
  for (int i = (int) c->graph.nodes.size(); i-- > 0;)
    if (reached.count(i)) reached.insert(c->graph.nodes[i]->after.begin(), c->graph.nodes[i]->after.end());
  for (auto& other : driver.streams) if (other.second->capture == c) { other.second->capture = nullptr; other.second->last.clear(); }
  for (auto it = driver.captures.begin(); it != driver.captures.end();) it = it->lock() == c ? driver.captures.erase(it) : it + 1;
  if (c->invalid) return CAPTURE_INVALIDATED;
  if (reached.size() != c->graph.nodes.size()) return complain(CAPTURE_UNJOINED, "work on another captured stream was not joined");
  auto graph = std::make_shared<Graph>(c->graph);
  driver.graphs[graph.get()] = graph;
  *out = graph.get();
  return 0;
}
