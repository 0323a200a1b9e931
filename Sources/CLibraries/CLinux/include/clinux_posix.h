// What a file system's operations are named by, where Swift's Glibc lacks it: extended attributes and GNU's constants.
#ifndef CLINUX_POSIX_H
#define CLINUX_POSIX_H

#include "clinux_file.h"
#include <sys/xattr.h>

static const int clinux_o_direct = __O_DIRECT;
static const int clinux_o_tmpfile = __O_TMPFILE;
static const int clinux_seek_data = SEEK_DATA;
static const int clinux_seek_hole = SEEK_HOLE;

static inline int clinux_fallocate(int descriptor, int mode, off_t offset, off_t length) {
    return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
}

static inline ssize_t clinux_copy_file_range(
    int from, off_t *from_offset, int to, off_t *to_offset, size_t length, unsigned flags) {
    return syscall(SYS_copy_file_range, from, from_offset, to, to_offset, length, flags);
}

#endif
