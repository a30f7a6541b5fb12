// Running one kernel launch on the CPU.
#pragma once
#include <string>
#include <vector>
#include "module_abi.h"

/** Device memory that a kernel may use. */
struct Block { const char* begin; size_t bytes; };

struct Launch {
  const StandInModule* module;
  const StandInKernel* kernel;
  unsigned grid[3], block[3], shared_bytes;
  std::vector<Block> blocks;
};

/**
 * Runs every block of a launch, one after another, on the calling thread. Returns 0 or the CUresult that a GPU would
 * report (700 illegal address, 716 misaligned, 719 divergence and others), with the reason in `why`.
 */
int execute(const Launch& launch, void** parameters, std::string& why);
