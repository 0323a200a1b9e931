import Router
import SchemeProtocol
import SchemeTransport
import Synchronization
import SystemPackage

// A large write is never copied: the kernel's request is read into pages of the channel's request memory, which the server maps,
// and the entry points at the bytes behind the headers:
//
//      slot's pages  | fuse_in_header | fuse_write_in | bytes ...            |  (unused pages are given back)
//                                                     ^ payload of the entry

/// A slot whose pages the next request is read into.
final class ReceiveSlot {
    let route: SchemeRoute
    var slot: RequestSlot

    init(_ route: SchemeRoute, _ slot: RequestSlot) {
        self.route = route
        self.slot = slot
    }
}

extension RouterBackend {
    /// Writes below this size are copied: pages of their own would fill the log with headers.
    private static let copyLimit = 16 << 10

    /// Pages of the channel that the last large write went to.
    public func takeReceiveBuffer() -> FuseReceiveBuffer? {
        let index = predicted.load(ordering: .relaxed)
        guard index >= 0, let route = router.route(index) else { return nil }
        guard lentCount.add(1, ordering: .relaxed).newValue <= Self.lentLimit,
            let slot = route.channel.reserve(payloadBytes: FuseSession.receiveByteCount)
        else {
            lentCount.subtract(1, ordering: .relaxed)
            return nil
        }
        let channel = route.channel
        var pages = channel.payload(slot)
        return unsafe pages.withUnsafeMutableBytes { bytes -> FuseReceiveBuffer? in
            guard let base = bytes.baseAddress else { return nil }
            unsafe Residence.prepareForReading(base, byteCount: FuseSession.receiveByteCount)
            return unsafe FuseReceiveBuffer(base: base, owner: ReceiveSlot(route, slot))
        }
    }

    /// The pages weren't used.
    public func giveReceiveBuffer(_ buffer: FuseReceiveBuffer) {
        lentCount.subtract(1, ordering: .relaxed)
        guard let owner = unsafe buffer.owner as? ReceiveSlot else { return }
        owner.route.channel.abandon(owner.slot)
    }

    /// Writes.
    public func write(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: UnsafeRawBufferPointer,
        in buffer: inout FuseReceiveBuffer?, flags: UInt32, isCacheWrite: Bool, clearsPrivileges: Bool
    ) throws(Errno) -> Int {
        do throws(Errno) {
            let count = unsafe try submit(
                request, node, handle, offset, bytes, in: &buffer, flags, isCacheWrite: isCacheWrite,
                clearsPrivileges: clearsPrivileges)
            if isCacheWrite { full.remove(node) }
            return count
        } catch {
            if isCacheWrite, error == .noSpace {
                full.add(node, byteCount: bytes.count)
                notifications.forgetAttributes(node)
            }
            throw error
        }
    }

    private func submit(
        _ request: FuseRequest, _ node: UInt64, _ handle: UInt64, _ offset: UInt64, _ bytes: UnsafeRawBufferPointer,
        in buffer: inout FuseReceiveBuffer?, _ flags: UInt32, isCacheWrite: Bool, clearsPrivileges: Bool
    ) throws(Errno) -> Int {
        let (route, number) = try writable(node)
        var kind: SubmissionFlags = []
        if isCacheWrite { kind.insert(.fromCache) }
        if clearsPrivileges { kind.insert(.killPrivileges) }
        let arguments = RequestArguments(flags: flags)
        let isLarge = bytes.count > Self.copyLimit
        let call = call(
            .write, request, number, handle: handle, offset: offset, arguments, flags: kind,
            payloadBytes: bytes.count)
        if isLarge, !request.isResent {
            predicted.store(route.index, ordering: .relaxed)
            if let lent = unsafe buffer, let base = bytes.baseAddress,
                let owner = unsafe lent.owner as? ReceiveSlot, owner.route === route
            {
                let start = unsafe base - UnsafeRawPointer(lent.base)
                unsafe buffer = nil
                lentCount.subtract(1, ordering: .relaxed)
                return try route.performInPlace(call, owner.slot, payload: start..<(start + bytes.count)) { answer in
                    Int(answer.result)
                }
            }
        }
        let source = unsafe RawSpan(_unsafeBytes: bytes)
        return try route.perform(
            call,
            {
                put(source, at: 0, into: &$0); return source.byteCount
            }
        ) { answer in
            Int(answer.result)
        }
    }
}
