// Files and block devices: variadic calls (fcntl, ioctl, open) and the macros that the importer drops.
//
// No header here defines _GNU_SOURCE: system types would get another definition than the one that the importer has read
// without it. What only GNU programs see is called by number, or lives in CLinux.c.
#ifndef CLINUX_FILE_H
#define CLINUX_FILE_H

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

// openat is variadic.
static inline int clinux_openat(int directory, const char *path, int flags, mode_t mode) {
    return openat(directory, path, flags, mode);
}

static const int clinux_o_noatime = __O_NOATIME;

// Whole-file open-file-description lock, not waiting. type: F_RDLCK, F_WRLCK or F_UNLCK.
static inline int clinux_ofd_lock(int descriptor, short type) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    return fcntl(descriptor, 37 /* F_OFD_SETLK */, &lock);
}

// The size of a block device in bytes. The macro is not imported, and the call is variadic.
static inline int clinux_block_device_size(int descriptor, uint64_t *bytes) {
    return ioctl(descriptor, BLKGETSIZE64, bytes);
}

static inline int clinux_punch_hole(int descriptor, off_t offset, off_t length) {
    return (int)syscall(SYS_fallocate, descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
}

static inline off_t clinux_lseek_data(int descriptor, off_t offset) { return lseek(descriptor, offset, SEEK_DATA); }
static inline off_t clinux_lseek_hole(int descriptor, off_t offset) { return lseek(descriptor, offset, SEEK_HOLE); }

// The importer's Glibc module lacks <sys/xattr.h>.
static inline ssize_t clinux_llistxattr(const char *path, char *list, size_t size) {
    return llistxattr(path, list, size);
}
static inline ssize_t clinux_lgetxattr(const char *path, const char *name, void *value, size_t size) {
    return lgetxattr(path, name, value, size);
}
static inline int clinux_lsetxattr(const char *path, const char *name, const void *value, size_t size) {
    return lsetxattr(path, name, value, size, 0);
}

// renameat2 has no declaration that Swift imports everywhere.
static inline int clinux_renameat2(int from, const char *old_path, int to, const char *new_path, unsigned flags) {
    return (int)syscall(SYS_renameat2, from, old_path, to, new_path, flags);
}

static inline int clinux_fcntl_int(int descriptor, int command, int argument) {
    return fcntl(descriptor, command, argument);
}

// getrandom(2): declared for GNU programs only, which the importer's Glibc module isn't.
static inline ssize_t clinux_getrandom(void *buffer, size_t count) { return syscall(SYS_getrandom, buffer, count, 0); }

// PR_SET_NAME of prctl(2), which is variadic: the name of the calling thread, 15 bytes at most.
static inline int clinux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

static inline uint64_t clinux_makedev(uint32_t major_number, uint32_t minor_number) {
    return makedev(major_number, minor_number);
}
static inline uint32_t clinux_major(uint64_t device) { return major(device); }
static inline uint32_t clinux_minor(uint64_t device) { return minor(device); }

#endif
