"""The counter scheme in Python, from the control socket upwards: the standard library and the generated module, nothing else.

What it serves stands in ../README.md, what is spoken in the documentation of SchemeProtocol. Everything that lies in a request
memory is the client's, who may write anything at any time: it is copied once, then checked, then used. One lock guards
everything; nobody sleeps with it. A thread per channel takes requests; the main thread listens to the supervisor.
"""

import array
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import sys
import threading
import time

from saltbridge_protocol import *

ROOT, COUNT, TICKS = 1, 2, 3
NAMES = {b"count": COUNT, b"ticks": TICKS}
TICK_BYTES = 16
F_ADD_SEALS, F_GET_SEALS, F_SEAL_SHRINK, F_SEAL_FUTURE_WRITE = 1033, 1034, 2, 16
O_NONBLOCK = 0o4000
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
FUTEX_WAIT, FUTEX_WAKE = 0, 1

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


class Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def futex_wait(address, expected, milliseconds):
    limit = Timespec(milliseconds // 1000, milliseconds % 1000 * 1000000)
    libc.syscall(SYS_FUTEX, ctypes.c_void_p(address), FUTEX_WAIT, ctypes.c_uint32(expected), ctypes.byref(limit), None, 0)


def futex_wake(address):
    libc.syscall(SYS_FUTEX, ctypes.c_void_p(address), FUTEX_WAKE, 1, None, None, 0)


class Memory:
    """A memory file, mapped. Words of 4 and 8 bytes are read and written by one instruction each."""

    def __init__(self, descriptor, size, writable, seals=0, at=None):
        found = fcntl.fcntl(descriptor, F_GET_SEALS)
        if found & (seals | F_SEAL_SHRINK) != seals | F_SEAL_SHRINK or os.fstat(descriptor).st_size != size:
            raise ValueError("not a sealed memory file of %d bytes" % size)
        # MAP_SHARED, and MAP_FIXED if it takes the place of another one.
        address = libc.mmap(at, size, 3 if writable else 1, 1 | (16 if at else 0), descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")
        self.address, self.size = address, size
        self.bytes = memoryview((ctypes.c_ubyte * size).from_address(address)).cast("B")
        self.words32, self.words64 = self.bytes.cast("I"), self.bytes.cast("Q")

    def load32(self, at):
        return self.words32[at // 4]

    def store32(self, at, value):
        self.words32[at // 4] = value & 0xFFFFFFFF

    def load64(self, at):
        return self.words64[at // 8]

    def store64(self, at, value):
        self.words64[at // 8] = value

    def must_be_request_memory(self, geometry):
        """Magic, version and geometry in the memory itself: against mix-ups, not against malice."""
        told = bytes(self.bytes[SB_HEADER_GEOMETRY : SB_HEADER_GEOMETRY + 20])
        if self.load64(0) != SB_REQUEST_MAGIC or self.load32(SB_HEADER_VERSION) != SB_VERSION or told != geometry[:20]:
            self.unmap()
            raise ValueError("not a request memory of this geometry")

    def unmap(self):
        for view in (self.words32, self.words64, self.bytes):
            view.release()
        libc.munmap(ctypes.c_void_p(self.address), ctypes.c_size_t(self.size))


class State:
    """What outlives the process: the supervisor holds this memory.

    A change writes the slot that isn't current, then the index: it is made wholly or not at all, and a request that comes again
    although it was made is known by its number. Words: index; then two slots of channel, request, count.
    """

    def __init__(self, descriptor):
        self.memory = Memory(descriptor, SB_PAGE_BYTES, True)

    def slot(self):
        at = 8 + 24 * (self.memory.load64(0) & 1)
        return [self.memory.load64(at + 8 * word) for word in range(3)]

    @property
    def count(self):
        return self.slot()[2]

    def tick(self, channel, request):
        last_channel, last_request, count = self.slot()
        number = request.tag | request.generation << 32
        if request.flags & SB_FLAG_RESUBMITTED and (last_channel, last_request) == (channel, number):
            return
        index = self.memory.load64(0) & 1 ^ 1
        for word, value in enumerate((channel, number, count + 1)):
            self.memory.store64(8 + 24 * index + 8 * word, value)
        self.memory.store64(0, index)


class Failure(Exception):
    """A call that fails with this errno."""


class Wait(Exception):
    """A call that waits for the next tick."""


def attributes(node):
    mode = {ROOT: 0o040555, COUNT: 0o100644}.get(node, 0o100444)
    return struct.pack("<4Q4q4I8I", node, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mode, 2 if node == ROOT else 1, 0, 0, 0, 4096, 0, 0)


class Counter:
    """The scheme: what a request gives, as (result, reply bytes, first value)."""

    def __init__(self, state):
        self.state = state

    def known(self, request):
        if not ROOT <= request.node <= TICKS:
            raise Failure(errno.ESTALE)

    def opened(self, channel, request):
        self.known(request)
        return 0, b"", 0 if request.node == ROOT else SB_OPENED_DIRECT_IO

    def look_up(self, channel, request):
        if request.node != ROOT:
            raise Failure(errno.ENOTDIR)
        if request.payload_bytes > SB_MAXIMUM_NAME_BYTES:
            raise Failure(errno.ENAMETOOLONG)
        name = bytes(channel.request.bytes[request.payload : request.payload + request.payload_bytes])
        if name not in NAMES:
            raise Failure(errno.ENOENT)
        return 0, attributes(NAMES[name]), 0

    def attributes(self, channel, request):
        # Opening with O_TRUNC is no error; other changes change nothing.
        self.known(request)
        return 0, attributes(request.node), 0

    def read(self, channel, request):
        room = min(request.length, request.room_bytes)
        if request.node == COUNT:
            text = b"%d\n" % self.state.count
            part = text[request.offset : request.offset + room] if request.offset < len(text) else b""
            return len(part), part, 0
        if request.node != TICKS:
            raise Failure(errno.EISDIR)
        first, skip = divmod(request.offset, TICK_BYTES)
        now = self.state.count
        if room == 0:
            return 0, b"", 0
        if first >= now:
            if request.call_flags & O_NONBLOCK:
                raise Failure(errno.EAGAIN)
            raise Wait()
        last = min(now, first + (skip + room) // TICK_BYTES + 1)
        text = b"".join(b"%15d\n" % (tick + 1) for tick in range(first, last))
        part = text[skip : skip + room]
        return len(part), part, 0

    def write(self, channel, request):
        if request.node != COUNT:
            raise Failure(errno.EBADF)
        self.state.tick(channel.number, request)
        return request.payload_bytes, b"", 0

    def list(self, channel, request):
        if request.node != ROOT:
            raise Failure(errno.ENOTDIR)
        result, room = b"", min(request.length, request.room_bytes)
        for index, (name, node) in enumerate(NAMES.items()):
            if index < request.offset:
                continue
            extra = attributes(node) if request.call_flags & 1 else b""
            size = (SB_ENTRY_HEADER_BYTES + len(extra) + len(name) + 7) // 8 * 8
            if len(result) + size > room:
                break
            entry = struct.pack("<QQIHBB", node, index + 1, size, len(name), 0o100000 >> 12, 1 if extra else 0) + extra + name
            result += entry.ljust(size, b"\0")
        return len(result), result, 0

    def refuse(self, code):
        def fail(channel, request):
            raise Failure(code)

        return fail

    def calls(self):
        def nothing(channel, request):
            return 0, b"", 0

        table = {
            SB_OP_HELLO: lambda channel, request: (ROOT, b"", 0),
            SB_OP_LOOKUP: self.look_up,
            SB_OP_GETATTR: self.attributes,
            SB_OP_SETATTR: self.attributes,
            SB_OP_READ: self.read,
            SB_OP_WRITE: self.write,
            SB_OP_READDIR: self.list,
            SB_OP_STATFS: lambda channel, request: (0, struct.pack("<9Q", 4096, 0, 0, 0, 0, 0, 255, 4096, 0), 0),
            SB_OP_POLL: lambda channel, request: (request.call_flags & (select.POLLIN | select.POLLOUT), b"", 0),
        }
        for opcode in (SB_OP_PING, SB_OP_COMMIT, SB_OP_REPLAY_FINISHED, SB_OP_FORGET, SB_OP_FLUSH, SB_OP_CLOSE, SB_OP_RELEASEDIR):
            table[opcode] = nothing
        for opcode in (SB_OP_FSYNC, SB_OP_FSYNCDIR, SB_OP_SYNCFS):
            table[opcode] = nothing
        for opcode in (SB_OP_OPEN, SB_OP_OPENDIR, SB_OP_ADOPT_HANDLE):
            table[opcode] = self.opened
        for opcode in (SB_OP_GETXATTR, SB_OP_LISTXATTR, SB_OP_SETXATTR, SB_OP_REMOVEXATTR):
            table[opcode] = self.refuse(errno.EOPNOTSUPP)
        for opcode in (SB_OP_CREATE, SB_OP_MKDIR, SB_OP_MKNOD, SB_OP_SYMLINK, SB_OP_LINK, SB_OP_UNLINK, SB_OP_RMDIR):
            table[opcode] = self.refuse(errno.EPERM)
        for opcode in (SB_OP_RENAME, SB_OP_TMPFILE):
            table[opcode] = self.refuse(errno.EPERM)
        return table


class Channel:
    """A client's channel and the thread that serves it."""

    def __init__(self, server, number, epoch, geometry, request, reply, bell):
        self.server, self.number, self.epoch, self.bell = server, number, epoch, bell
        self.layout = SBLayout(geometry)
        self.geometry = bytes(geometry)
        self.request = Memory(request, self.layout.request_memory_bytes, False, F_SEAL_FUTURE_WRITE)
        self.request.must_be_request_memory(self.geometry)
        self.reply = Memory(reply, self.layout.reply_memory_bytes, True)
        self.parked, self.is_stopping, self.head = [], False, 0
        memory = self.reply
        self.tail = memory.load32(SB_COMPLETION_TAIL)
        memory.store64(0, SB_REPLY_MAGIC)
        memory.store32(SB_HEADER_VERSION, SB_VERSION)
        memory.bytes[SB_HEADER_GEOMETRY : SB_HEADER_GEOMETRY + SB_GEOMETRY_BYTES] = geometry
        memory.store32(SB_SERVER_STATE, (memory.load32(SB_SERVER_STATE) >> 2) + 1 << 2)
        for worker in range(SB_MAXIMUM_WORKERS):
            memory.store64(SB_MARKS + worker * SB_MARK_BYTES + 8, 0)
        memory.store32(SB_INCARNATION, server.incarnation)
        memory.store32(SB_STATUS, SB_STATUS_STARTING)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def complete(self, request, result, reply=b"", value0=0):
        memory, layout = self.reply, self.layout
        memory.bytes[request.room : request.room + len(reply)] = reply
        flags = SB_FLAG_INLINE_REPLY if request.length <= SB_INLINE_REPLY_BYTES else 0
        at = layout.reply_records + request.tag * SB_REPLY_RECORD_BYTES
        memory.bytes[at : at + SB_COMPLETION_BYTES] = struct.pack(
            "<IIqQIIQQQQ", request.tag, request.generation, result, 0, len(reply), flags, value0, 0, 0, 0
        )
        memory.store32(layout.completion_ring + 4 * (self.tail & layout.record_count - 1), request.tag)
        self.tail = self.tail + 1 & 0xFFFFFFFF
        memory.store32(SB_COMPLETION_TAIL, self.tail)
        # Python has no memory fence, so the client's state isn't looked at: it is always woken, which is always right.
        futex_wake(memory.address + SB_COMPLETION_TAIL)
        if self.bell is not None:
            os.write(self.bell, struct.pack("=Q", 1))

    def serve(self, request):
        if request.opcode == SB_OP_CANCEL:
            return self.cancel(request)
        try:
            call = self.server.table.get(request.opcode)
            if call is None:
                raise Failure(errno.ENOSYS)
            result, reply, value0 = call(self, request)
        except Failure as failure:
            result, reply, value0 = -failure.args[0], b"", 0
        except Wait:
            self.parked.append(request)
            return
        self.complete(request, result, reply, value0)
        if request.opcode == SB_OP_WRITE and result >= 0:
            self.server.wake()

    def cancel(self, request):
        for parked in self.parked:
            if (parked.tag, parked.generation) == tuple(request.words[:2]):
                self.parked.remove(parked)
                self.complete(parked, -errno.EINTR)
                return self.complete(request, 1)
        self.complete(request, 0)

    def step(self):
        """Takes one request and serves it; False if there is none."""
        tail = self.request.load32(SB_SUBMISSION_TAIL)
        if tail == self.head:
            return False
        if tail - self.head & 0xFFFFFFFF > self.layout.record_count:
            # No position that an honest client can reach: nothing in between is believed.
            self.head = tail
            self.reply.store32(SB_SUBMISSION_HEAD, tail)
            return False
        tag = self.request.load32(self.layout.submission_ring + 4 * (self.head & self.layout.record_count - 1))
        self.head = self.head + 1 & 0xFFFFFFFF
        if tag >= self.layout.record_count:
            self.reply.store32(SB_SUBMISSION_HEAD, self.head)
            return True
        request = SBRequest(self.layout, self.request.bytes, tag)
        if not request.is_sound:
            self.reply.store32(SB_SUBMISSION_HEAD, self.head)
            self.complete(request, -errno.EINVAL)
            return True
        # The mark comes before the head: a request that kills the server is either marked or still in the ring.
        self.reply.store64(SB_MARKS, tag | request.generation << 32)
        self.reply.store64(SB_MARKS + 16, time.monotonic_ns())
        self.reply.store64(SB_MARKS + 8, request.opcode + 1)
        self.reply.store32(SB_SUBMISSION_HEAD, self.head)
        self.serve(request)
        self.reply.store64(SB_MARKS + 8, 0)
        return True

    def run(self):
        lock, memory = self.server.lock, self.reply
        lock.acquire()
        # The client says when this incarnation may begin, and where.
        while not self.is_stopping:
            now = self.request.load32(SB_EPOCH)
            if (now - self.epoch & 0xFFFFFFFF) < 1 << 31:
                break
            lock.release()
            futex_wait(self.request.address + SB_EPOCH, now, 50)
            lock.acquire()
        self.head = self.request.load32(SB_START_POSITION)
        memory.store32(SB_SUBMISSION_HEAD, self.head)
        for at in (SB_RECOVERED_SEQUENCE, SB_COMMITTED_SEQUENCE, SB_APPLIED_SEQUENCE):
            memory.store64(at, 0)
        if not self.is_stopping:
            memory.store32(SB_STATUS, SB_STATUS_SERVING)
        while not self.is_stopping:
            if self.step():
                continue
            sleep = (memory.load32(SB_SERVER_STATE) >> 2) + 1 & 0x3FFFFFFF
            memory.store32(SB_SERVER_STATE, sleep << 2 | SB_STATE_ON_FUTEX)
            head = self.head
            lock.release()
            # The kernel compares the word itself, behind a fence. With a limit: the memory may be replaced by a copy.
            futex_wait(self.request.address + SB_SUBMISSION_TAIL, head, 50)
            lock.acquire()
            memory.store32(SB_SERVER_STATE, sleep << 2)
        lock.release()

    def end(self):
        with self.server.lock:
            self.is_stopping = True
        self.thread.join()
        self.request.unmap()
        self.reply.unmap()
        if self.bell is not None:
            os.close(self.bell)


class Message:
    """A control message with its descriptors."""

    def __init__(self, data, descriptors):
        magic, self.kind, version, self.id, self.channel, self.number, self.flags, count, _ = struct.unpack_from("<IHHIIQIHH", data)
        if magic != SB_CONTROL_MAGIC or version != SB_VERSION or count > len(descriptors):
            raise ValueError("no control message")
        self.geometry = data[SB_CONTROL_GEOMETRY : SB_CONTROL_GEOMETRY + SB_GEOMETRY_BYTES]
        self.descriptors, at = {}, SB_CONTROL_HEADER_BYTES
        for descriptor in descriptors[:count]:
            (size,) = struct.unpack_from("<H", data, at)
            self.descriptors[bytes(data[at + 2 : at + 2 + size])] = descriptor
            at += 2 + size


class Server:
    """The process: the control socket, the channels."""

    def __init__(self, control):
        self.control, self.lock, self.channels = control, threading.Lock(), {}
        message = self.receive()
        if message is None or message.kind != SB_KIND_CONFIGURE:
            sys.exit("cannot start: no configuration came")
        self.incarnation = message.number
        memory = message.descriptors.get(b"state")
        if memory is None:
            memory = os.memfd_create("counter", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(memory, SB_PAGE_BYTES)
            fcntl.fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK)
            self.send(SB_KIND_HOLD, descriptor=(b"state", memory))
        self.table = Counter(State(memory)).calls()
        self.send(SB_KIND_STARTED)

    def receive(self):
        """The next message; None if it makes no sense. Ends the process when the supervisor is gone."""
        data, rights, _, _ = self.control.recvmsg(
            SB_CONTROL_MAXIMUM_BYTES, socket.CMSG_SPACE(4 * SB_CONTROL_MAXIMUM_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            os._exit(0)
        descriptors = array.array("i")
        for level, kind, value in rights:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(value[: len(value) // 4 * 4])
        try:
            return Message(data, list(descriptors))
        except (ValueError, struct.error):
            return None

    def send(self, kind, identifier=0, channel=0, number=0, descriptor=None):
        name, rights = b"", []
        if descriptor:
            name = struct.pack("<H", len(descriptor[0])) + descriptor[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("=i", descriptor[1]))]
        data = struct.pack(
            "<IHHIIQIHH32x", SB_CONTROL_MAGIC, kind, SB_VERSION, identifier, channel, number, 0, 1 if descriptor else 0, 0
        )
        self.control.sendmsg([data + name], rights)

    def wake(self):
        """Tries everything again that waits for the next tick."""
        for channel in list(self.channels.values()):
            waiting, channel.parked = channel.parked, []
            for request in waiting:
                channel.serve(request)

    def attach(self, message):
        self.detach(message.channel)
        given = message.descriptors
        bell = given.get(b"client-bell")
        if not message.flags & SB_CONTROL_HAS_GEOMETRY:
            raise ValueError("no geometry")
        channel = Channel(
            self, message.channel, message.number & 0xFFFFFFFF, message.geometry, given[b"request"], given[b"reply"],
            None if bell is None else os.dup(bell),
        )
        with self.lock:
            self.channels[message.channel] = channel
        channel.thread.start()

    def detach(self, number):
        with self.lock:
            channel = self.channels.pop(number, None)
        if channel:
            channel.end()

    def replace(self, message):
        channel = self.channels[message.channel]
        given = message.descriptors[b"request"]
        # Looked into before it takes the place of the old one.
        probe = Memory(given, channel.layout.request_memory_bytes, False, F_SEAL_FUTURE_WRITE)
        probe.must_be_request_memory(channel.geometry)
        probe.unmap()
        with self.lock:
            old = channel.request
            channel.request = Memory(given, channel.layout.request_memory_bytes, False, F_SEAL_FUTURE_WRITE, at=old.address)

    def handle(self, message):
        failure = 0
        try:
            if message.kind == SB_KIND_ATTACH:
                self.attach(message)
            elif message.kind == SB_KIND_REPLACE_REQUEST_MEMORY:
                self.replace(message)
            elif message.kind == SB_KIND_DETACH:
                self.detach(message.channel)
            elif message.kind not in (SB_KIND_GET, SB_KIND_FINISH, SB_KIND_SERVER_CHANGED):
                failure = errno.EINVAL
        except (ValueError, KeyError, OSError):
            failure = errno.EINVAL
        if message.id:
            self.send(SB_KIND_FAILED if failure else SB_KIND_DONE, message.id, message.channel, failure)
        if message.kind == SB_KIND_FINISH:
            os._exit(0)

    def run(self):
        while True:
            ready, _, _ = select.select([self.control], [], [], 0.2)
            for channel in self.channels.values():
                channel.reply.store64(SB_HEARTBEAT, channel.reply.load64(SB_HEARTBEAT) + 1)
            if not ready:
                continue
            message = self.receive()
            if message:
                self.handle(message)
                for descriptor in message.descriptors.values():
                    os.close(descriptor)


if __name__ == "__main__":
    if "SALTBRIDGE_CONTROL" not in os.environ:
        sys.exit("cannot start: it is started by the supervisor")
    Server(socket.socket(fileno=int(os.environ["SALTBRIDGE_CONTROL"]))).run()
