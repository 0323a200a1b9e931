#define _GNU_SOURCE 1
#include "clinux_network.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage storage;
};

static socklen_t encode(const struct clinux_address *from, union address *to) {
    memset(to, 0, sizeof *to);
    if (from->family == 4) {
        to->v4.sin_family = AF_INET;
        to->v4.sin_port = htons(from->port);
        memcpy(&to->v4.sin_addr, from->bytes, 4);
        return sizeof to->v4;
    }
    to->v6.sin6_family = AF_INET6;
    to->v6.sin6_port = htons(from->port);
    to->v6.sin6_scope_id = from->scope;
    memcpy(&to->v6.sin6_addr, from->bytes, 16);
    return sizeof to->v6;
}

static void decode(const union address *from, struct clinux_address *to) {
    memset(to, 0, sizeof *to);
    if (from->any.sa_family == AF_INET) {
        to->family = 4;
        to->port = ntohs(from->v4.sin_port);
        memcpy(to->bytes, &from->v4.sin_addr, 4);
    } else if (from->any.sa_family == AF_INET6) {
        to->family = 6;
        to->port = ntohs(from->v6.sin6_port);
        to->scope = from->v6.sin6_scope_id;
        memcpy(to->bytes, &from->v6.sin6_addr, 16);
    }
}

int clinux_inet_socket(int family, int type, int protocol) {
    return socket(family == 4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

int clinux_inet_connect(int socket, const struct clinux_address *address) {
    union address raw;
    socklen_t length = encode(address, &raw);
    return connect(socket, &raw.any, length);
}

int clinux_inet_bind(int socket, const struct clinux_address *address) {
    union address raw;
    socklen_t length = encode(address, &raw);
    return bind(socket, &raw.any, length);
}

int clinux_inet_listen(int socket, int backlog) { return listen(socket, backlog); }

int clinux_inet_accept(int socket) { return accept4(socket, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC); }

int clinux_inet_name(int socket, int peer, struct clinux_address *address) {
    union address raw;
    socklen_t length = sizeof raw;
    memset(&raw, 0, sizeof raw);
    int result = peer ? getpeername(socket, &raw.any, &length) : getsockname(socket, &raw.any, &length);
    if (result == 0) { decode(&raw, address); }
    return result;
}

int clinux_inet_target(int socket, struct clinux_address *address) {
    // getpeername says nothing of a TCP socket until it is connected; this option does. It wants the very length of the name.
    union address raw;
    int family = 0;
    socklen_t length = sizeof family;
    memset(&raw, 0, sizeof raw);
    if (getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &family, &length)) { return -1; }
    length = family == AF_INET ? sizeof raw.v4 : sizeof raw.v6;
    int result = getsockopt(socket, SOL_SOCKET, SO_PEERNAME, &raw, &length);
    if (result == 0) { decode(&raw, address); }
    return result;
}

long clinux_inet_send(int socket, const void *bytes, size_t length) {
    return send(socket, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

long clinux_inet_send_to(int socket, const void *bytes, size_t length, const struct clinux_address *address) {
    union address raw;
    socklen_t size = encode(address, &raw);
    return sendto(socket, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL, &raw.any, size);
}

long clinux_inet_receive(int socket, void *bytes, size_t length, int peek) {
    return recv(socket, bytes, length, MSG_DONTWAIT | (peek ? MSG_PEEK : 0));
}

long clinux_inet_receive_from(int socket, void *bytes, size_t length, struct clinux_address *address) {
    union address raw;
    socklen_t size = sizeof raw;
    memset(&raw, 0, sizeof raw);
    long result = recvfrom(socket, bytes, length, MSG_DONTWAIT, &raw.any, &size);
    if (result >= 0) { decode(&raw, address); }
    return result;
}

long clinux_inet_discard(int socket, size_t length) {
    return recv(socket, NULL, length, MSG_DONTWAIT | MSG_TRUNC);
}

int clinux_inet_shutdown(int socket, int how) { return shutdown(socket, how); }

int clinux_inet_set(int socket, int level, int name, int value) {
    return setsockopt(socket, level, name, &value, sizeof value);
}

int clinux_inet_get(int socket, int level, int name, int *value) {
    socklen_t length = sizeof *value;
    return getsockopt(socket, level, name, value, &length);
}

int clinux_inet_counters(int socket, struct clinux_tcp_counters *counters) {
    // The counters come by several calls: taken again until nothing moved between them.
    for (int attempt = 0; attempt < 1000; attempt++) {
        struct tcp_info before, after;
        socklen_t length = sizeof before;
        int unread = 0, unsent = 0;
        memset(&before, 0, sizeof before);
        memset(&after, 0, sizeof after);
        if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &before, &length)) { return -1; }
        if (ioctl(socket, SIOCINQ, &unread) || ioctl(socket, SIOCOUTQ, &unsent)) { return -1; }
        length = sizeof after;
        if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &after, &length)) { return -1; }
        counters->acknowledged = after.tcpi_bytes_acked;
        counters->received = after.tcpi_bytes_received;
        counters->unread = (uint32_t)unread;
        counters->unsent = (uint32_t)unsent;
        counters->state = after.tcpi_state;
        if (before.tcpi_bytes_acked == after.tcpi_bytes_acked &&
            before.tcpi_bytes_received == after.tcpi_bytes_received && before.tcpi_state == after.tcpi_state) {
            return 0;
        }
    }
    errno = EAGAIN;
    return -1;
}

int clinux_icmp_raw_socket(int family) {
    // Nothing comes to it but answers to echo requests and what says that a packet didn't arrive. In IPv4 the filter sees the
    // packet from the IP header on, in IPv6 from the ICMP header on.
    struct sock_filter v4[] = {
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 3, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 3, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 11, 1, 0), BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0xffff),
    };
    struct sock_filter v6[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 129, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 2, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 3, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0xffff),
    };
    struct sock_fprog program = {
        .len = family == 4 ? sizeof v4 / sizeof v4[0] : sizeof v6 / sizeof v6[0], .filter = family == 4 ? v4 : v6};
    int on = 1;
    int raw = clinux_inet_socket(family, SOCK_RAW, family == 4 ? (int)IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
    if (raw < 0) { return -1; }
    if (setsockopt(raw, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) ||
        setsockopt(raw, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on)) {
        int code = errno;
        close(raw);
        errno = code;
        return -1;
    }
    return raw;
}

long clinux_route_dump(int type, void *buffer, size_t size) {
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = (uint16_t)type,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 1},
        .body = {.rtgen_family = AF_UNSPEC}};
    int code = 0;
    size_t used = 0;
    int route = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (route < 0) { return -1; }
    if (send(route, &request, request.header.nlmsg_len, 0) < 0) { code = errno; }
    while (code == 0) {
        long count = recv(route, (char *)buffer + used, size - used, MSG_TRUNC);
        if (count < 0) {
            if (errno != EINTR) { code = errno; }
            continue;
        }
        if ((size_t)count > size - used) {
            code = ENOBUFS;
            break;
        }
        // A part holds whole messages; the last one of the last part says that there are no more.
        struct nlmsghdr last;
        size_t place = used;
        used += (size_t)count;
        while (used - place >= sizeof last) {
            memcpy(&last, (char *)buffer + place, sizeof last);
            if (last.nlmsg_flags & NLM_F_DUMP_INTR) { code = EAGAIN; }
            if (last.nlmsg_type == NLMSG_ERROR) {
                struct nlmsgerr report;
                code = EIO;
                if (used - place >= NLMSG_LENGTH(sizeof report)) {
                    memcpy(&report, (char *)buffer + place + NLMSG_LENGTH(0), sizeof report);
                    if (report.error < 0) { code = -report.error; }
                }
            }
            if (last.nlmsg_type == NLMSG_DONE) {
                close(route);
                if (code) { errno = code; }
                return code ? -1 : (long)place;
            }
            if (last.nlmsg_len < sizeof last || NLMSG_ALIGN(last.nlmsg_len) > used - place) { break; }
            place += NLMSG_ALIGN(last.nlmsg_len);
        }
    }
    close(route);
    errno = code;
    return -1;
}
