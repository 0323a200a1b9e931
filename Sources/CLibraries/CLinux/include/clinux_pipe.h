// Pipes between a socket and a process: what went through is exactly what the pipe doesn't hold any more. Defined in pipe.c: splice(2)
// and pipe2(2) are declared for GNU programs only.
#ifndef CLINUX_PIPE_H
#define CLINUX_PIPE_H

#include <stddef.h>

// Both ends never block and are closed on exec.
int clinux_waiting_pipe(int ends[2]);
// Moves bytes without waiting; one of both is a pipe.
long clinux_splice(int from, int to, size_t count);
// Bytes that wait in a pipe (FIONREAD).
int clinux_waiting_bytes(int pipe, int *count);

#endif
