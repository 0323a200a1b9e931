#define _GNU_SOURCE
#include "clinux_pipe.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

int clinux_waiting_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC | O_NONBLOCK); }

long clinux_splice(int from, int to, size_t count) {
    return splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int clinux_waiting_bytes(int pipe, int *count) { return ioctl(pipe, FIONREAD, count); }
