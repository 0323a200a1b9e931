#define _GNU_SOURCE 1
#include "CLinux.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>

int clinux_socketpair(int descriptors[2]) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, descriptors);
}

int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

long clinux_send_descriptors(
    int socket, const void *bytes, size_t length, const int *descriptors, int count, int wait) {
    char control[CMSG_SPACE(sizeof(int) * clinux_maximum_descriptors)];
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (count < 0 || count > clinux_maximum_descriptors) {
        errno = EINVAL;
        return -1;
    }
    if (count > 0) {
        memset(control, 0, sizeof control);
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * (size_t)count);
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT));
}

long clinux_receive_descriptors(
    int socket, void *bytes, size_t length, int *descriptors, int capacity, int *count, int wait) {
    char control[CMSG_SPACE(sizeof(int) * clinux_maximum_descriptors)];
    struct iovec vector = {.iov_base = bytes, .iov_len = length};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    *count = 0;
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    if (received == -1) { return -1; }
    int excess = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) { continue; }
        size_t given = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t index = 0; index < given; index++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + index * sizeof(int), sizeof(int));
            if (*count < capacity) {
                descriptors[(*count)++] = descriptor;
            } else {
                close(descriptor);
                excess = 1;
            }
        }
    }
    if (excess || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        while (*count > 0) { close(descriptors[--*count]); }
        errno = EMSGSIZE;
        return -1;
    }
    return received;
}

// What the thread might use when it was first kept to one.
static _Thread_local cpu_set_t usable_processors;
static _Thread_local int is_kept = 0;

int clinux_keep_to_processor(unsigned processor) {
    if (!is_kept) {
        if (sched_getaffinity(0, sizeof usable_processors, &usable_processors) != 0) { return -1; }
        is_kept = 1;
    }
    if (processor >= CPU_SETSIZE || !CPU_ISSET(processor, &usable_processors)) {
        errno = EINVAL;
        return -1;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

int clinux_leave_processor(void) {
    return is_kept ? sched_setaffinity(0, sizeof usable_processors, &usable_processors) : 0;
}

int clinux_fault(int signal) {
    volatile int zero = 0;
    switch (signal) {
    case SIGSEGV: *(volatile int *)(long)zero = 0; break;
    case SIGILL: __builtin_trap();
    case SIGFPE: zero = 1000 / zero; break; // 1 / x needs no division
    }
    return -1;
}

int clinux_processor(void) { return sched_getcpu(); }
