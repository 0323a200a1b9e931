// Unix sockets that carry descriptors: the control message macros are not imported. And eventfd.
//
// Defined in CLinux.c: the sockets' headers, read with GNU extensions, contradict the importer's own reading of them.
#ifndef CLINUX_SOCKET_H
#define CLINUX_SOCKET_H

#include <stddef.h>
#include <stdint.h>

enum { clinux_maximum_descriptors = 32 };

int clinux_socketpair(int descriptors[2]);
int clinux_eventfd(void);

// Sends one message with descriptors beside it. A peer that is gone is EPIPE, not a signal.
long clinux_send_descriptors(int socket, const void *bytes, size_t length, const int *descriptors, int count, int wait);

// Receives one message. Descriptors beyond `capacity` are closed and reported as EMSGSIZE, like a message cut short.
long clinux_receive_descriptors(
    int socket, void *bytes, size_t length, int *descriptors, int capacity, int *count, int wait);

#endif
