// libnvrtc.so.13, a stand-in: compiles CUDA C++ for the CPU with g++ and cuda_host.h. The compiler runs twice: a
// preprocessor pass whose output shows which kernels there are (also those that macros write), then the compilation of
// the source with a table of these kernels behind it. The 'cubin' is the shared object under a header.
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <set>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>
#include "module_abi.h"

#define API extern "C" __attribute__((visibility("default"))) int

enum { OK = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, INVALID_OPTION = 5, COMPILATION = 6, INTERNAL = 11 };

struct Program {
  std::string source, name, log, cubin;
  std::vector<std::pair<std::string, std::string>> headers;
};

static std::string home;                       // the folder of this library and of the headers beside it
extern char** environ;

static struct Loaded {
  Loaded() {
    fprintf(stderr, "heddle stand-in: NVRTC compiles for the CPU with g++, this is no GPU\n");
    Dl_info info;
    if (!dladdr((void*) &home, &info)) return;
    char* path = realpath(info.dli_fname, nullptr);
    home = path ? path : info.dli_fname;
    free(path);
    home.erase(home.rfind('/'));
  }
} loaded;

static bool write_file(const std::string& path, const std::string& text) {
  FILE* f = fopen(path.c_str(), "wb");
  if (!f) return false;
  bool ok = fwrite(text.data(), 1, text.size(), f) == text.size();
  return !fclose(f) && ok;
}

static std::string read_file(const std::string& path) {
  std::string text;
  if (FILE* f = fopen(path.c_str(), "rb")) {
    char buffer[65536];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, f)) > 0;) text.append(buffer, n);
    fclose(f);
  }
  return text;
}

/** Runs a command with its output in `output`; returns its status, or -1 where it cannot be started. */
static int run(const std::vector<std::string>& command, const std::string& output) {
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back((char*) word.c_str());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, (output + ".err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  pid_t child;
  int failed = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status;
  if (failed || waitpid(child, &status, 0) < 0 || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// ---- finding kernels in preprocessed text

/** Reads C++ text token by token, without strings and line markers; a token is a word or one character. */
struct Tokens {
  const std::string& text;
  size_t at = 0, begin = 0;
  explicit Tokens(const std::string& t) : text(t) {}
  std::string next() {
    for (; at < text.size(); at++) {
      if (text[at] == '#') while (at + 1 < text.size() && text[at] != '\n') at++;
      if (!isspace((unsigned char) text[at])) break;
    }
    begin = at;
    if (at >= text.size()) return "";
    char c = text[at++];
    if (c == '"' || c == '\'') {
      while (at < text.size() && text[at] != c && text[at] != '\n') at += text[at] == '\\' ? 2 : 1;
      at++;
      return text.substr(begin, at - begin);
    }
    if (isalnum((unsigned char) c) || c == '_') while (at < text.size() && (isalnum((unsigned char) text[at]) || text[at] == '_')) at++;
    return text.substr(begin, at - begin);
  }
  /** The text up to the parenthesis that closes the one just read. */
  std::string rest() {
    size_t from = at;
    for (int depth = 1; depth;) {
      std::string t = next();
      if (t.empty()) break;
      depth += t == "(" ? 1 : t == ")" ? -1 : 0;
    }
    return text.substr(from, begin - from);
  }
};

struct Kernel { std::string name, bound; };

/** Kernels: extern "C" before __global__, then, attributes apart, void and the name. */
static std::vector<Kernel> kernels_of(const std::string& text) {
  std::vector<Kernel> found;
  std::set<std::string> seen;
  Tokens tokens(text);
  std::string before, word;
  while (!(word = tokens.next()).empty()) {
    if (!(before == "extern" && word == "\"C\"")) { before = word; continue; }
    Kernel k;
    k.bound = "1024";
    bool global = false;
    while (!(word = tokens.next()).empty() && word != ";" && word != "{") {
      if (word == "__global__") global = true;
      else if (word == "__launch_bounds__") {
        tokens.next();
        std::string inside = tokens.rest();
        int depth = 0;
        size_t end = 0;
        for (; end < inside.size() && (depth || inside[end] != ','); end++) {
          char c = inside[end];
          depth += c == '(' || c == '<' ? 1 : c == ')' || c == '>' ? -1 : 0;
        }
        k.bound = inside.substr(0, end);
      } else if (word == "__attribute__") { tokens.next(); tokens.rest(); }
      else if (word == "(") break;
      else k.name = word;
    }
    if (global && word == "(" && seen.insert(k.name).second) found.push_back(k);
    before = word;
  }
  return found;
}

// ---- the interface

/** NVRTC's options that matter here become g++'s; the others are known and dropped, or refused. */
static bool translate(const std::vector<std::string>& options, std::vector<std::string>& out, std::string& log) {
  static const char* const IGNORED[] = {
    "--gpu-architecture", "-arch", "--std", "-std", "--use_fast_math", "-use_fast_math", "--fmad", "-fmad", "--ftz", "-ftz",
    "--prec-div", "-prec-div", "--prec-sqrt", "-prec-sqrt", "--maxrregcount", "-maxrregcount", "--device-debug", "-G",
    "--generate-line-info", "-lineinfo", "--extra-device-vectorization", "-extra-device-vectorization", "--restrict", "-restrict",
    "--default-device", "-default-device", "--device-as-default-execution-space", "--disable-warnings", "-w",
    "--diag-suppress", "-diag-suppress", "--dopt", "-dopt", "--Ofast-compile", "--minimal", "-minimal", "--no-source-include",
    "--builtin-move-forward", "--builtin-initializer-list", "--display-error-number", "--ptxas-options", "-Xptxas",
    "--modify-stack-limit", "--split-compile", "--relocatable-device-code", "-rdc", "-dc", "-dw", "--device-c", "--device-w"};
  for (size_t i = 0; i < options.size(); i++) {
    const std::string& o = options[i];
    std::string name = o.substr(0, o.find('='));
    auto value = [&](const char* shorter, const char* longer, const char* flag) {
      if (name == longer && o.size() > name.size()) out.push_back(flag + o.substr(name.size() + 1));
      else if ((o == shorter || o == longer) && i + 1 < options.size()) out.push_back(flag + options[++i]);
      else if (o.compare(0, 2, shorter) == 0 && o.size() > 2) out.push_back(flag + o.substr(2));
      else return false;
      return true;
    };
    if (value("-D", "--define-macro", "-D") || value("-I", "--include-path", "-I") || value("-U", "--undefine-macro", "-U")) continue;
    bool known = false;
    for (auto ignored : IGNORED) known |= name == ignored;
    if (!known) { log += "unrecognized option " + o + "\n"; return false; }
    if ((o == "-arch" || o == "--gpu-architecture" || o == "-Xptxas" || o == "--ptxas-options") && i + 1 < options.size()) i++;
  }
  return true;
}

static int compile(Program& p, const std::vector<std::string>& options) {
  std::vector<std::string> flags;
  if (!translate(options, flags, p.log)) return INVALID_OPTION;
  const char* temporary = getenv("TMPDIR");
  std::string folder = std::string(temporary ? temporary : "/tmp") + "/heddle-stand-in-XXXXXX";
  if (!mkdtemp(&folder[0])) { p.log += "cannot make " + folder + "\n"; return INTERNAL; }
  std::vector<std::string> files;
  auto file = [&](const std::string& name) { files.push_back(folder + "/" + name); return files.back(); };
  std::string source = file("source.cu"), scanned = file("scanned"), built = file("built"), object = file("object.so");
  file("scanned.err");
  file("built.err");
  bool wrote = true;
  for (auto& h : p.headers) if (h.first.find('/') == std::string::npos) wrote &= write_file(file(h.first), h.second);
  std::string text = "#line 1 \"" + p.name + "\"\n" + p.source + "\n";
  wrote &= write_file(source, text);

  std::vector<std::string> common = {"g++", "-x", "c++", "-std=c++17", "-w", "-DHEDDLE_STAND_IN", "-I" + home, "-I" + folder};
  common.insert(common.end(), flags.begin(), flags.end());
  auto command = common;
  for (const char* word : {"-E", "-P", "-DHEDDLE_STAND_IN_SCAN", "-include"}) command.push_back(word);
  command.push_back(home + "/cuda_host.h");
  command.push_back(source);
  int status = wrote ? run(command, scanned) : -1;
  if (status > 0) p.log += read_file(scanned + ".err");
  if (status == 0) {
    auto kernels = kernels_of(read_file(scanned));
    text += "#line 1 \"table of kernels\"\n";
    if (!kernels.empty()) text += "static const StandInKernel heddle_kernels[] = {\n";
    for (auto& k : kernels) text += "HEDDLE_KERNEL(" + k.name + ", " + k.bound + "),\n";
    if (!kernels.empty()) text += "};\n";
    text += "extern \"C\" __attribute__((visibility(\"hidden\"))) unsigned char __ehdr_start[], __bss_start[], _end[];\n"
            "extern \"C\" __attribute__((visibility(\"default\"))) const StandInModule heddle_module = {&heddle_here, "
          + std::string(kernels.empty() ? "nullptr" : "heddle_kernels") + ", " + std::to_string(kernels.size()) + ", __ehdr_start, __bss_start, _end};\n";
    write_file(source, text);
    command = common;
    for (const char* word : {HEDDLE_FLAGS, "-nostdlib", "-shared"}) command.push_back(word);
    command.insert(command.end(), {"-include", home + "/cuda_host.h", source, "-o", object, "-lm", "-lc", "-lgcc"});
    status = run(command, built);
    p.log += read_file(built + ".err");
  }
  if (status < 0) p.log += "the stand-in cannot run g++\n";
  if (status == 0) {
    std::string bytes = read_file(object);
    uint64_t n = bytes.size();
    p.cubin = STAND_IN_MAGIC + std::string((const char*) &n, 8) + bytes;
  }
  for (auto& f : files) unlink(f.c_str());
  rmdir(folder.c_str());
  return status ? COMPILATION : OK;
}

#define PROGRAM(handle) if (!handle) return INVALID_PROGRAM; auto p = (Program*) handle

API nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 0; return OK; }
extern "C" __attribute__((visibility("default"))) const char* nvrtcGetErrorString(int code) {
  static const char* const NAMES[] = {
    "NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT",
    "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION",
    "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE", "NVRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION",
    "NVRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION", "NVRTC_ERROR_NAME_EXPRESSION_NOT_VALID", "NVRTC_ERROR_INTERNAL_ERROR"};
  return code >= 0 && code < 12 ? NAMES[code] : "NVRTC_ERROR unknown";
}
API nvrtcCreateProgram(void** out, const char* source, const char* name, int n, const char* const* headers, const char* const* names) {
  if (!out || !source || n < 0) return INVALID_INPUT;
  auto p = new Program;
  p->source = source;
  p->name = name ? name : "default_program";
  for (int i = 0; i < n; i++) p->headers.push_back({names[i], headers[i]});
  *out = p;
  return OK;
}
API nvrtcDestroyProgram(void** handle) {
  if (!handle || !*handle) return INVALID_PROGRAM;
  delete (Program*) *handle;
  *handle = nullptr;
  return OK;
}
API nvrtcCompileProgram(void* handle, int n, const char* const* options) {
  PROGRAM(handle);
  p->log.clear();
  p->cubin.clear();
  return compile(*p, {options, options + n});
}
API nvrtcGetCUBINSize(void* handle, size_t* n) { PROGRAM(handle); *n = p->cubin.size(); return OK; }
API nvrtcGetCUBIN(void* handle, char* to) { PROGRAM(handle); memcpy(to, p->cubin.data(), p->cubin.size()); return OK; }
API nvrtcGetPTXSize(void* handle, size_t* n) { PROGRAM(handle); *n = p->cubin.size(); return OK; }
API nvrtcGetPTX(void* handle, char* to) { PROGRAM(handle); memcpy(to, p->cubin.data(), p->cubin.size()); return OK; }
API nvrtcGetProgramLogSize(void* handle, size_t* n) { PROGRAM(handle); *n = p->log.size() + 1; return OK; }
API nvrtcGetProgramLog(void* handle, char* to) { PROGRAM(handle); memcpy(to, p->log.c_str(), p->log.size() + 1); return OK; }
API nvrtcGetNumSupportedArchs(int* n) { *n = 3; return OK; }
API nvrtcGetSupportedArchs(int* archs) { archs[0] = 80; archs[1] = 90; archs[2] = 100; return OK; }
