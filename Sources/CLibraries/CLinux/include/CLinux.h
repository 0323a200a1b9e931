// Header-only shims for what Swift cannot import from the kernel's headers: variadic system calls and macros.
#ifndef CLINUX_H
#define CLINUX_H

#include "clinux_file.h"
#include "clinux_memory.h"
#include "clinux_network.h"
#include "clinux_pipe.h"
#include "clinux_processor.h"
#include "clinux_socket.h"
#include "clinux_posix.h"
#include "clinux_process.h"
#include "clinux_spawn.h"

#endif
