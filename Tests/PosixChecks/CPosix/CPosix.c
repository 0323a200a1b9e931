#define _GNU_SOURCE
#include "CPosix.h"

#include <fcntl.h>
#include <grp.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int posix_close_from(void *actions, int first) { return posix_spawn_file_actions_addclosefrom_np(actions, first); }
int posix_become_user(uid_t uid, gid_t gid) {
    if (uid != 0 && syscall(SYS_setgroups, 0, 0) != 0) return -1;
    if (uid == 0 && syscall(SYS_setresuid, -1, 0, -1) != 0) return -1;
    if (syscall(SYS_setresgid, -1, gid, -1) != 0) return -1;
    return uid == 0 ? 0 : syscall(SYS_setresuid, -1, uid, -1);
}
int posix_rename(const char *from, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}
int posix_lock(int descriptor, int command, short type, off_t start, off_t length) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(descriptor, command, &lock);
}
int posix_lock_conflict(int descriptor, int command, short type, off_t start, off_t length) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(descriptor, command, &lock) < 0 ? -1 : lock.l_type;
}
dev_t posix_makedev(unsigned a, unsigned b) { return makedev(a, b); }
void *posix_map(size_t length, int protection, int flags, int descriptor) {
    void *address = mmap(0, length, protection, flags, descriptor, 0);
    return address == MAP_FAILED ? 0 : address;
}
int posix_allocate(int descriptor, int mode, off_t offset, off_t length) {
    return fallocate(descriptor, mode, offset, length);
}
ssize_t posix_copy_range(int from, off_t *source, int to, off_t *target, size_t length) {
    return copy_file_range(from, source, to, target, length, 0);
}
int posix_sync_file_system(int descriptor) { return syncfs(descriptor); }

const int posix_punch_hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, posix_zero_range = FALLOC_FL_ZERO_RANGE,
          posix_keep_size = FALLOC_FL_KEEP_SIZE, posix_collapse_range = FALLOC_FL_COLLAPSE_RANGE,
          posix_seek_data = SEEK_DATA, posix_seek_hole = SEEK_HOLE, posix_tmpfile = O_TMPFILE, posix_direct = O_DIRECT,
          posix_path = O_PATH, posix_ofd_setlk = F_OFD_SETLK, posix_ofd_getlk = F_OFD_GETLK;
const long posix_utime_now = UTIME_NOW, posix_utime_omit = UTIME_OMIT;
const unsigned posix_rename_noreplace = RENAME_NOREPLACE, posix_rename_exchange = RENAME_EXCHANGE;
