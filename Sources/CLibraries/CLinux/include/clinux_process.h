// Processes and their events: pidfds, signalfds, wait, epoll, seccomp, landlock. What the importer's Glibc module doesn't
// declare, or declares as variadic. Functions, not inline: their headers would clash with those of other C modules.
#ifndef CLINUX_PROCESS_H
#define CLINUX_PROCESS_H

#include <stddef.h>
#include <stdint.h>

int clinux_pidfd_open(int pid);
int clinux_pidfd_send_signal(int pidfd, int signal);
// What happened to the process: code is CLD_* (0: nothing yet), status the exit status or signal.
int clinux_wait_pidfd(int pidfd, int options, int *code, int *status);
// Blocks the signals of the set (bit n-1: signal n) in this thread and returns a descriptor that reports them.
int clinux_signal_descriptor(uint64_t signals);
// The number of the next signal of a signal descriptor, -1 with errno (EAGAIN: none).
int clinux_next_signal(int descriptor);
void clinux_ignore_signal(int number);
// Commits the fault that SIGSEGV, SIGILL or SIGFPE is for; returns -1 if there is none, or none of this processor's.
int clinux_fault(int signal);
// epoll_event is a packed structure with a union; these take and give plain numbers.
int clinux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token);
int clinux_epoll_wait(int epoll, uint32_t *events, uint64_t *tokens, int capacity, int milliseconds);
int clinux_epoll_create(void);
int clinux_pipe(int ends[2]);
long clinux_readlink(const char *path, void *buffer, size_t size);
// O_PATH is declared for GNU programs only.
extern const int clinux_path_only;
// Any system call by its number: for tests of what a filter refuses.
long clinux_raw_call(long number, long a, long b, long c, long d, long e, long f);
// seccomp(2) with a program of struct sock_filter; synchronises all threads (SECCOMP_FILTER_FLAG_TSYNC).
int clinux_install_filter(const void *instructions, uint16_t count);
// Landlock: the structures grew with the ABI; size says how much of ABI 6's is used.
int clinux_landlock_abi(void);
int clinux_landlock_create(uint64_t files, uint64_t network, uint64_t scoped, size_t size);
int clinux_landlock_allow_path(int ruleset, uint64_t access, int path);
int clinux_landlock_allow_port(int ruleset, uint64_t access, uint64_t port);
// Unix stream sockets by path. Listeners and what they accept don't block.
int clinux_listen_unix(const char *path);
int clinux_connect_unix(const char *path);
// The same without waiting, for a socket that doesn't block: EAGAIN if there are too many callers.
int clinux_begin_connect_unix(const char *path);
int clinux_accept(int listener);
// Adds to a posix_spawn_file_actions_t: descriptors from the first on are closed. Returns an error number.
int clinux_spawn_close_from(void *actions, int first);
int clinux_peer_user(int socket_number, unsigned *user);
// Sends what there is room for; never SIGPIPE.
long clinux_send_some(int socket_number, const void *bytes, size_t count);
int clinux_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *options);
int clinux_unmount(const char *target, int flags);

#endif
