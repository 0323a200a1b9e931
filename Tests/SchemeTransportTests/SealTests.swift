import Glibc
import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage
import Testing

/// The server can't write the request memory, by any way that a descriptor or a mapping gives; and neither side believes a memory
/// that could shrink under it.
@Suite struct SealTests {
    @Test func noWritableMappingOfTheRequestMemory() throws {
        let channel = try ChannelClient(.small, name: "test")
        let size = channel.layout.requestMemoryBytes
        let descriptor = channel.requestDescriptor.rawValue
        #expect(throws: Errno.notPermitted) { _ = try SharedMapping(descriptor, byteCount: size, writable: true) }
        // A descriptor of one's own, opened for writing through /proc, maps no better.
        let reopened = try SystemCall.open("/proc/self/fd/\(descriptor)", O_RDWR)
        #expect(throws: Errno.notPermitted) {
            _ = try SharedMapping(reopened.rawValue, byteCount: size, writable: true)
        }
        // A read-only mapping can't be made writable.
        let mapped = unsafe mmap(nil, size, PROT_READ, MAP_SHARED, descriptor, 0)
        let changed = unsafe mprotect(mapped, size, PROT_READ | PROT_WRITE)
        #expect(changed == -1 && errno == EACCES)
        _ = unsafe munmap(mapped, size)
        var byte: UInt8 = 1
        let written = unsafe pwrite(reopened.rawValue, &byte, 1, 0)
        #expect(written == -1 && errno == EPERM)
        #expect(throws: Errno.notPermitted) { try SystemCall.punchHole(reopened.rawValue, at: 0, byteCount: 4096) }
        #expect(throws: Errno.notPermitted) { try SystemCall.truncate(reopened.rawValue, to: 0) }
        #expect(throws: Errno.notPermitted) { try SharedMemory.addSeals(descriptor, .write) }
        let seals = try SharedMemory.seals(descriptor)
        #expect(seals.isSuperset(of: [.seal, .shrink, .grow, .futureWrite]))
        // The client's own mapping is as good as before.
        let slot = try #require(channel.reserve(payloadBytes: 5000))
        var payload = channel.payload(slot)
        payload.storeBytes(of: 42, as: UInt64.self)
        channel.abandon(slot)
    }

    @Test func aServerRefusesOtherMemories() throws {
        let channel = try ChannelClient(.small, name: "test")
        let layout = channel.layout
        func attach(_ request: SharedDescriptor, _ reply: SharedDescriptor) throws {
            _ = try ChannelServer(geometry: .small, request: request, reply: reply, incarnation: 1)
        }
        let unsealed = SharedDescriptor(try SharedMemory.create(name: "x", byteCount: layout.requestMemoryBytes))
        #expect(throws: ChannelError.self) { try attach(unsealed, channel.replyDescriptor) }
        let short = SharedDescriptor(try SharedMemory.create(name: "x", byteCount: 4096))
        #expect(throws: ChannelError.self) { try attach(short, channel.replyDescriptor) }
        #expect(throws: ChannelError.self) { try attach(channel.requestDescriptor, short) }
        let file = SharedDescriptor(try SystemCall.open("/dev/null", O_RDWR))
        #expect(throws: ChannelError.self) { try attach(file, channel.replyDescriptor) }
        #expect(throws: ChannelError.self) { try attach(channel.replyDescriptor, channel.replyDescriptor) }
        try attach(channel.requestDescriptor, channel.replyDescriptor)
    }
}
