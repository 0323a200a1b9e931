// Calls that Swift can't import (variadic, or hidden behind _GNU_SOURCE) or that glibc changes: its set*id change all
// threads of a process.
#ifndef CPOSIX_H
#define CPOSIX_H
#include <stddef.h>
#include <sys/types.h>
#include <sys/xattr.h>

// The ids of this thread alone; -1 leaves one as it is. Supplementary groups are dropped. 0 or -1 with errno.
int posix_become_user(uid_t uid, gid_t gid);
int posix_rename(const char *from, const char *to, unsigned flags);
int posix_lock(int descriptor, int command, short type, off_t start, off_t length);
// The type of the lock that is in the way, F_UNLCK if none.
int posix_lock_conflict(int descriptor, int command, short type, off_t start, off_t length);
dev_t posix_makedev(unsigned a, unsigned b);
void *posix_map(size_t length, int protection, int flags, int descriptor);
int posix_allocate(int descriptor, int mode, off_t offset, off_t length);
ssize_t posix_copy_range(int from, off_t *source, int to, off_t *target, size_t length);
// Makes the file system durable that the descriptor lies in.
int posix_sync_file_system(int descriptor);
// Adds to a posix_spawn_file_actions_t: descriptors from the first on are closed.
int posix_close_from(void *actions, int first);

extern const int posix_punch_hole, posix_zero_range, posix_keep_size, posix_collapse_range, posix_seek_data,
    posix_seek_hole, posix_tmpfile, posix_direct, posix_path, posix_ofd_setlk, posix_ofd_getlk;
extern const long posix_utime_now, posix_utime_omit;
extern const unsigned posix_rename_noreplace, posix_rename_exchange;
#endif
