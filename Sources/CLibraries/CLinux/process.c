#define _GNU_SOURCE 1
#include "clinux_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

int clinux_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int clinux_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

// What happened to the process: code is CLD_* (0: nothing yet), status the exit status or signal.
int clinux_wait_pidfd(int pidfd, int options, int *code, int *status) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    int result = waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, options);
    *code = info.si_code;
    *status = info.si_status;
    return result;
}

// Blocks the signals of the set (bit n-1: signal n) in this thread and returns a descriptor that reports them.
int clinux_signal_descriptor(uint64_t signals) {
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number <= 64; number++)
        if (signals >> (number - 1) & 1) sigaddset(&set, number);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

// The number of the next signal of a signal descriptor, -1 with errno (EAGAIN: none).
int clinux_next_signal(int descriptor) {
    struct signalfd_siginfo info;
    ssize_t count = read(descriptor, &info, sizeof info);
    if (count == (ssize_t)sizeof info) return (int)info.ssi_signo;
    if (count >= 0) errno = EIO;
    return -1;
}

void clinux_ignore_signal(int number) { signal(number, SIG_IGN); }

// epoll_event is a packed structure with a union; these take and give plain numbers.
int clinux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event;
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int clinux_epoll_wait(int epoll, uint32_t *events, uint64_t *tokens, int capacity, int milliseconds) {
    struct epoll_event buffer[64];
    if (capacity > 64) capacity = 64;
    int count = epoll_wait(epoll, buffer, capacity, milliseconds);
    for (int i = 0; i < count; i++) {
        events[i] = buffer[i].events;
        tokens[i] = buffer[i].data.u64;
    }
    return count;
}

// pipe2 is declared for GNU programs only.
int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

ssize_t clinux_readlink(const char *path, void *buffer, size_t size) {
    return readlink(path, (char *)buffer, size);
}

// O_PATH is declared for GNU programs only.
const int clinux_path_only = O_PATH;

// Any system call by its number: for tests of what a filter refuses.
long clinux_raw_call(long number, long a, long b, long c, long d, long e, long f) {
    return syscall(number, a, b, c, d, e, f);
}

// seccomp(2) with a program of struct sock_filter; synchronises all threads (SECCOMP_FILTER_FLAG_TSYNC).
int clinux_install_filter(const void *instructions, uint16_t count) {
    struct {
        unsigned short count;
        const void *instructions;
    } program = {count, instructions};
    return (int)syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 1 /* TSYNC */, &program);
}

// Landlock: the structures grew with the ABI; this is ABI 6's.
struct clinux_landlock_attributes {
    uint64_t handled_files, handled_network, scoped;
};
int clinux_landlock_abi(void) {
    return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* LANDLOCK_CREATE_RULESET_VERSION */);
}
int clinux_landlock_create(uint64_t files, uint64_t network, uint64_t scoped, size_t size) {
    struct clinux_landlock_attributes attributes = {files, network, scoped};
    return (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
}
int clinux_landlock_allow_path(int ruleset, uint64_t access, int path) {
    struct landlock_path_beneath_attr rule;
    memset(&rule, 0, sizeof rule);
    rule.allowed_access = access;
    rule.parent_fd = path;
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}
int clinux_landlock_allow_port(int ruleset, uint64_t access, uint64_t port) {
    struct {
        uint64_t access, port;
    } rule = {access, port};
    return (int)syscall(SYS_landlock_add_rule, ruleset, 2 /* LANDLOCK_RULE_NET_PORT */, &rule, 0);
}

int clinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int unix_address(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (length >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address->sun_path, path, length);
    return 0;
}

int clinux_listen_unix(const char *path) {
    struct sockaddr_un address;
    if (unix_address(path, &address) != 0) return -1;
    int socket_number = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (socket_number < 0) return -1;
    if (bind(socket_number, (struct sockaddr *)&address, sizeof address) != 0 || listen(socket_number, 16) != 0) {
        int code = errno;
        close(socket_number);
        errno = code;
        return -1;
    }
    return socket_number;
}

static int connect_unix(const char *path, int flags) {
    struct sockaddr_un address;
    if (unix_address(path, &address) != 0) return -1;
    int socket_number = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (socket_number < 0) return -1;
    if (connect(socket_number, (struct sockaddr *)&address, sizeof address) != 0) {
        int code = errno;
        close(socket_number);
        errno = code;
        return -1;
    }
    return socket_number;
}

int clinux_connect_unix(const char *path) { return connect_unix(path, 0); }

int clinux_begin_connect_unix(const char *path) { return connect_unix(path, SOCK_NONBLOCK); }

int clinux_spawn_close_from(void *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

int clinux_accept(int listener) { return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK); }

int clinux_peer_user(int socket_number, unsigned *user) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket_number, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return -1;
    *user = peer.uid;
    return 0;
}

long clinux_send_some(int socket_number, const void *bytes, size_t count) {
    return send(socket_number, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options) {
    return mount(source, target, type, flags, options);
}

int clinux_unmount(const char *target, int flags) { return umount2(target, flags); }
