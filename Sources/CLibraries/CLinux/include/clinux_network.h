// Internet sockets: the kernel's own tcp_info (with byte counters) is not in the C library's headers. Defined in network.c.
#ifndef CLINUX_NETWORK_H
#define CLINUX_NETWORK_H

#include <stddef.h>
#include <stdint.h>

// An address without the C library's types: family 4 or 6, the bytes in network order, port and scope in host order.
struct clinux_address {
    uint8_t bytes[16];
    uint32_t scope;
    uint16_t port;
    uint16_t family;
};

// What the kernel has counted of a TCP connection.
struct clinux_tcp_counters {
    uint64_t acknowledged; // bytes that the peer has acknowledged, its SYN and FIN counted
    uint64_t received;     // bytes received in order, FIN counted
    uint32_t unread;       // bytes in the receive queue
    uint32_t unsent;       // bytes in the send queue, not acknowledged
    uint32_t state;        // TCP_ESTABLISHED (1) and so on
};

int clinux_inet_socket(int family, int type, int protocol);
int clinux_inet_connect(int socket, const struct clinux_address *address);
int clinux_inet_bind(int socket, const struct clinux_address *address);
int clinux_inet_listen(int socket, int backlog);
int clinux_inet_accept(int socket);
// The own address, or the peer's.
int clinux_inet_name(int socket, int peer, struct clinux_address *address);
// The address that a socket connects to or is connected with; ENOTCONN if it never began to.
int clinux_inet_target(int socket, struct clinux_address *address);

long clinux_inet_send(int socket, const void *bytes, size_t length);
long clinux_inet_send_to(int socket, const void *bytes, size_t length, const struct clinux_address *address);
// Bytes of the receive queue, which keeps them if `peek` is set.
long clinux_inet_receive(int socket, void *bytes, size_t length, int peek);
// A datagram's real length may be more than what fits.
long clinux_inet_receive_from(int socket, void *bytes, size_t length, struct clinux_address *address);
// Takes bytes of a TCP stream out of the receive queue without copying them.
long clinux_inet_discard(int socket, size_t length);
int clinux_inet_shutdown(int socket, int how);
int clinux_inet_set(int socket, int level, int name, int value);
int clinux_inet_get(int socket, int level, int name, int *value);
int clinux_inet_counters(int socket, struct clinux_tcp_counters *counters);

// A raw ICMP socket; its filter can't be taken off. Needs CAP_NET_RAW.
int clinux_icmp_raw_socket(int family);

// The kernel's answer to RTM_GETLINK, RTM_GETADDR or RTM_GETROUTE: whole messages; returns their length. ENOBUFS: the buffer is
// too small. EAGAIN: something changed meanwhile, ask again.
long clinux_route_dump(int type, void *buffer, size_t size);

#endif
