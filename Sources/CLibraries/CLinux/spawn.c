#define _GNU_SOURCE 1
#include "clinux_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// Defined here as far as the C library's headers may be older than the kernel.
#define SPAWN_CLONE_PIDFD 0x1000ull
#define SPAWN_OPEN_TREE_CLONE 1u
#define SPAWN_AT_RECURSIVE 0x8000u
#define SPAWN_MOVE_MOUNT_F_EMPTY_PATH 4u
#define SPAWN_MOUNT_ATTR_RDONLY 1ull
#define SPAWN_MOUNT_ATTR_NOSUID 2ull
#define SPAWN_MOUNT_ATTR_NODEV 4ull
#define SPAWN_LARGEST_SIGNAL 64
#define SPAWN_MOST_BINDS 16
#define SPAWN_MOST_DESCRIPTORS 64

#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif

struct spawn_clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

struct spawn_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};

// The kernel's sigaction, not the C library's.
struct spawn_sigaction {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

struct spawn_rlimit {
    uint64_t soft, hard;
};

struct spawn_capability_header {
    uint32_t version;
    int pid;
};

struct spawn_capability_data {
    uint32_t effective, permitted, inheritable;
};

_Noreturn static void fail(int status, enum clinux_spawn_step step) {
    int32_t report[2] = {(int32_t)step, errno};
    (void)!syscall(SYS_write, status, report, sizeof report);
    for (;;) syscall(SYS_exit_group, 127);
}

// Signals: nothing blocked, nothing ignored. The parent blocks what it reads from a signalfd and ignores SIGPIPE.
static void reset_signals(int status) {
    struct spawn_sigaction action;
    memset(&action, 0, sizeof action);
    for (int number = 1; number <= SPAWN_LARGEST_SIGNAL; number++) {
        if (number == SIGKILL || number == SIGSTOP) continue;
        if (syscall(SYS_rt_sigaction, number, &action, NULL, 8) != 0) fail(status, CLINUX_STEP_SIGNALS);
    }
    uint64_t none = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8) != 0) fail(status, CLINUX_STEP_SIGNALS);
}

static void make_root(const struct clinux_spawn_plan *plan) {
    int status = plan->status;
    int trees[SPAWN_MOST_BINDS];
    if (plan->bind_count > SPAWN_MOST_BINDS) {
        errno = E2BIG;
        fail(status, CLINUX_STEP_OPEN_TREE);
    }
    // Nothing mounted here may reach the parent's namespace.
    if (syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) fail(status, CLINUX_STEP_PRIVATE_MOUNTS);
    // Taken before the new root hides anything.
    for (size_t i = 0; i < plan->bind_count; i++) {
        unsigned flags = SPAWN_OPEN_TREE_CLONE | O_CLOEXEC | (plan->binds[i].recursive ? SPAWN_AT_RECURSIVE : 0);
        trees[i] = (int)syscall(SYS_open_tree, AT_FDCWD, plan->binds[i].source, flags);
        if (trees[i] < 0) fail(status, CLINUX_STEP_OPEN_TREE);
    }
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (syscall(SYS_mount, "saltbridge", plan->root_place, "tmpfs", flags, plan->root_options) != 0)
        fail(status, CLINUX_STEP_MOUNT_ROOT);
    if (syscall(SYS_chdir, plan->root_place) != 0) fail(status, CLINUX_STEP_MOUNT_ROOT);
    for (size_t i = 0; i < plan->directory_count; i++) {
        if (syscall(SYS_mkdirat, AT_FDCWD, plan->directories[i], 0555) != 0 && errno != EEXIST)
            fail(status, CLINUX_STEP_MAKE_DIRECTORY);
    }
    struct spawn_mount_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    for (size_t i = 0; i < plan->bind_count; i++) {
        // A file needs a file to be mounted on; a directory is among the directories.
        if (syscall(SYS_mknodat, AT_FDCWD, plan->binds[i].target, S_IFREG | 0444, 0) != 0 && errno != EEXIST)
            fail(status, CLINUX_STEP_BIND);
        if (syscall(SYS_move_mount, trees[i], "", AT_FDCWD, plan->binds[i].target, SPAWN_MOVE_MOUNT_F_EMPTY_PATH) != 0)
            fail(status, CLINUX_STEP_BIND);
        attributes.attr_set = SPAWN_MOUNT_ATTR_RDONLY | SPAWN_MOUNT_ATTR_NOSUID | SPAWN_MOUNT_ATTR_NODEV;
        if (syscall(SYS_mount_setattr, AT_FDCWD, plan->binds[i].target, SPAWN_AT_RECURSIVE, &attributes,
                    sizeof attributes) != 0)
            fail(status, CLINUX_STEP_MOUNT_ATTRIBUTES);
        syscall(SYS_close, trees[i]);
    }
    attributes.attr_set = SPAWN_MOUNT_ATTR_RDONLY;
    if (syscall(SYS_mount_setattr, AT_FDCWD, ".", 0, &attributes, sizeof attributes) != 0)
        fail(status, CLINUX_STEP_MOUNT_ATTRIBUTES);
    // The old root ends up on top of the new one, from where it is taken away (pivot_root(2), "pivot_root(".", ".")").
    if (syscall(SYS_pivot_root, ".", ".") != 0) fail(status, CLINUX_STEP_PIVOT_ROOT);
    if (syscall(SYS_umount2, ".", MNT_DETACH) != 0) fail(status, CLINUX_STEP_LEAVE_OLD_ROOT);
    if (syscall(SYS_chdir, "/") != 0) fail(status, CLINUX_STEP_LEAVE_OLD_ROOT);
}

static void set_ids(const struct clinux_spawn_plan *plan) {
    int status = plan->status;
    if (plan->clear_groups && syscall(SYS_setgroups, 0, NULL) != 0) fail(status, CLINUX_STEP_GROUPS);
    if (syscall(SYS_setresgid, plan->gid, plan->gid, plan->gid) != 0) fail(status, CLINUX_STEP_GROUP_ID);
    if (syscall(SYS_setresuid, plan->uid, plan->uid, plan->uid) != 0) fail(status, CLINUX_STEP_USER_ID);
}

// Copies lie above everything first: a target's number may be another one's source. dup3(n, n) would keep close-on-exec,
// which can't happen here. Returns the executable's new number; the status socket becomes the one after it.
static int place_descriptors(const struct clinux_spawn_plan *plan, int *status) {
    int copies[SPAWN_MOST_DESCRIPTORS];
    int count = (int)plan->descriptor_count;
    if (plan->descriptor_count > SPAWN_MOST_DESCRIPTORS) {
        errno = E2BIG;
        fail(*status, CLINUX_STEP_DESCRIPTORS);
    }
    int above = count + 2;
    for (int i = 0; i < count; i++) {
        copies[i] = (int)syscall(SYS_fcntl, plan->descriptors[i], F_DUPFD_CLOEXEC, above);
        if (copies[i] < 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    }
    int executable = (int)syscall(SYS_fcntl, plan->executable, F_DUPFD_CLOEXEC, above);
    if (executable < 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    int socket = (int)syscall(SYS_fcntl, *status, F_DUPFD_CLOEXEC, above);
    if (socket < 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    *status = socket;
    for (int i = 0; i < count; i++)
        if (syscall(SYS_dup3, copies[i], i, 0) < 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    if (syscall(SYS_dup3, executable, count, O_CLOEXEC) < 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    if (syscall(SYS_dup3, socket, count + 1, O_CLOEXEC) < 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    *status = count + 1;
    if (syscall(SYS_close_range, count + 2, ~0u, 0) != 0) fail(*status, CLINUX_STEP_DESCRIPTORS);
    return count;
}

static void drop_capabilities(int status) {
    for (int number = 0;; number++) {
        if (syscall(SYS_prctl, PR_CAPBSET_DROP, number, 0, 0, 0) == 0) continue;
        if (errno == EINVAL && number > 0) break;
        fail(status, CLINUX_STEP_BOUNDING_SET);
    }
    // SECBIT_NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, each locked, and KEEP_CAPS locked off (capabilities(7)).
    if (syscall(SYS_prctl, PR_SET_SECUREBITS, 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80, 0, 0, 0) != 0)
        fail(status, CLINUX_STEP_SECURE_BITS);
    struct spawn_capability_header header = {0x20080522u, 0};
    struct spawn_capability_data data[2];
    memset(data, 0, sizeof data);
    if (syscall(SYS_capset, &header, data) != 0) fail(status, CLINUX_STEP_CAPABILITIES);
}

_Noreturn static void child(const struct clinux_spawn_plan *plan) {
    int status = plan->status;
    syscall(SYS_close, plan->status_peer);
    // The parent writes the user namespace's maps before it says "go". No byte: it is gone.
    char go = 0;
    long count;
    do count = syscall(SYS_read, status, &go, 1);
    while (count < 0 && errno == EINTR);
    if (count == 0) errno = ECANCELED;
    if (count != 1) fail(status, CLINUX_STEP_HANDSHAKE);

    if (plan->new_session && syscall(SYS_setsid) < 0) fail(status, CLINUX_STEP_SESSION);
    reset_signals(status);
    if (plan->set_ids) set_ids(plan);
    if (plan->new_root) make_root(plan);
    int landlock = plan->landlock;
    if (plan->no_new_privileges && syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        fail(status, CLINUX_STEP_NO_NEW_PRIVILEGES);
    // After the mounts, which it forbids, and before its descriptor is closed.
    if (landlock >= 0 && syscall(SYS_landlock_restrict_self, landlock, 0) != 0) fail(status, CLINUX_STEP_LANDLOCK);
    int executable = place_descriptors(plan, &status);
    // After the descriptors: their copies lie above the limit on descriptors.
    for (size_t i = 0; i < plan->limit_count; i++) {
        struct spawn_rlimit limit = {plan->limits[i].soft, plan->limits[i].hard};
        if (syscall(SYS_prlimit64, 0, plan->limits[i].resource, &limit, NULL) != 0) fail(status, CLINUX_STEP_LIMITS);
    }
    if (plan->drop_capabilities) drop_capabilities(status);
    if (plan->death_signal) {
        // A change of ids clears it, so it comes after them. The parent may have died before: its end is closed then.
        if (syscall(SYS_prctl, PR_SET_PDEATHSIG, plan->death_signal, 0, 0, 0) != 0)
            fail(status, CLINUX_STEP_DEATH_SIGNAL);
        struct pollfd parent = {status, POLLIN, 0};
        struct timespec none = {0, 0};
        if (syscall(SYS_ppoll, &parent, 1, &none, NULL, 8) > 0 && (parent.revents & POLLHUP)) {
            errno = ECANCELED;
            fail(status, CLINUX_STEP_DEATH_SIGNAL);
        }
    }
    if (plan->filter) {
        struct sock_fprog program = {plan->filter_count, (struct sock_filter *)plan->filter};
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) fail(status, CLINUX_STEP_SECCOMP);
    }
    syscall(SYS_execveat, executable, "", plan->arguments, plan->environment, AT_EMPTY_PATH);
    fail(status, CLINUX_STEP_EXECUTE);
}

int clinux_spawn(const struct clinux_spawn_plan *plan, int *pidfd) {
    struct spawn_clone_args args;
    memset(&args, 0, sizeof args);
    int descriptor = -1;
    args.flags = plan->clone_flags | SPAWN_CLONE_PIDFD;
    args.pidfd = (uint64_t)(uintptr_t)&descriptor;
    args.exit_signal = SIGCHLD;
    // No handler of the parent may run in the child before it has reset them.
    uint64_t all = ~0ull, before = 0;
    if (syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8) != 0) return -1;
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0) child(plan);
    int code = errno;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    errno = code;
    if (pid > 0) *pidfd = descriptor;
    return (int)pid;
}
