import CFuse3
import Glibc
import SchemeProtocol
import SystemPackage

// Requests that libfuse 3.14 doesn't know, or parses in an older form than the one that was negotiated, and those without a
// reply, which need none of its bookkeeping. Layouts: linux/fuse.h.

/// Opcodes of requests handled here.
private enum Opcode {
    static let forget = UInt32(FUSE_FORGET.rawValue)
    static let setExtendedAttribute = UInt32(FUSE_SETXATTR.rawValue)
    static let initialize = UInt32(FUSE_INIT.rawValue)
    static let interrupt = UInt32(FUSE_INTERRUPT.rawValue)
    static let forgetMany = UInt32(FUSE_BATCH_FORGET.rawValue)
    static let synchronizeAll = UInt32(FUSE_SYNCFS.rawValue)
    static let createUnnamed = UInt32(FUSE_TMPFILE.rawValue)
}

extension FuseWorker {
    /// Bytes of a request's header.
    static var headerByteCount: Int { MemoryLayout<fuse_in_header>.size }

    /// The request's header.
    var header: fuse_in_header {
        guard unsafe raw.count >= Self.headerByteCount else { return fuse_in_header() }
        return unsafe raw.loadUnaligned(as: fuse_in_header.self)
    }

    /// The argument structure behind the header, nil if the request is shorter.
    func argument<Structure: BitwiseCopyable>(_ type: Structure.Type) -> Structure? {
        guard unsafe raw.count >= Self.headerByteCount + MemoryLayout<Structure>.size else { return nil }
        return unsafe raw.loadUnaligned(fromByteOffset: Self.headerByteCount, as: type)
    }

    /// What the backend learns of the request at hand.
    func request(_ header: fuse_in_header, mask: UInt32 = 0) -> FuseRequest {
        FuseRequest(
            unique: header.unique & ~FuseRequest.resendMark, isResent: header.unique & FuseRequest.resendMark != 0,
            user: header.uid, group: header.gid, process: header.pid, mask: mask, time: coarseTime())
    }

    /// Carries out a request without libfuse. False: it is libfuse's.
    func handleDirectly() -> Bool {
        let header = header
        session.counters.requests.wrappingAdd(1, ordering: .relaxed)
        if header.unique & FuseRequest.resendMark != 0 { session.counters.resent.wrappingAdd(1, ordering: .relaxed) }
        switch header.opcode {
        case Opcode.forget, Opcode.forgetMany:
            session.counters.forgotten.wrappingAdd(1, ordering: .relaxed)
        case Opcode.interrupt:
            guard let argument = argument(fuse_interrupt_in.self) else { return true }
            session.counters.interrupts.wrappingAdd(1, ordering: .relaxed)
            session.backend.interrupt(unique: argument.unique & ~FuseRequest.resendMark)
        case Opcode.initialize:
            return answerInitializationAgain(header)
        case Opcode.synchronizeAll:
            let request = request(header)
            reply(header, request) { () throws(Errno) in
                try session.backend.synchronizeAll(request, node: header.nodeid)
                return .init()
            }
        case Opcode.setExtendedAttribute:
            setExtendedAttribute(header)
        case Opcode.createUnnamed:
            createUnnamed(header)
        default: return false
        }
        return true
    }

    /// A kernel that had no reply from a dead process asks for INIT again; libfuse has been given the saved one already.
    private func answerInitializationAgain(_ header: fuse_in_header) -> Bool {
        guard var bytes = session.restart.withLock({ $0.reply }), bytes.count >= MemoryLayout<fuse_out_header>.size
        else {
            return false
        }
        unsafe bytes.withUnsafeMutableBytes { reply in
            unsafe reply.storeBytes(of: header.unique, toByteOffset: 8, as: UInt64.self)
            if unsafe write(session.descriptor, reply.baseAddress, reply.count) > 0 { session.didWriteInitialization() }
        }
        return true
    }

    private func setExtendedAttribute(_ header: fuse_in_header) {
        let request = request(header)
        reply(header, request) { () throws(Errno) in
            guard let argument = argument(fuse_setxattr_in.self) else { throw .invalidArgument }
            let start = Self.headerByteCount + MemoryLayout<fuse_setxattr_in>.size
            let rest = unsafe UnsafeRawBufferPointer(rebasing: raw[start...])
            guard let end = unsafe rest.firstIndex(of: 0), rest.count - end - 1 >= Int(argument.size) else {
                throw .invalidArgument
            }
            let name = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: rest[..<end]))
            let value = unsafe RawSpan(
                _unsafeBytes: UnsafeRawBufferPointer(rebasing: rest[(end + 1)..<(end + 1 + Int(argument.size))]))
            try session.backend.setExtendedAttribute(
                request, node: header.nodeid, name: name, value: value, flags: argument.flags,
                clearsGroupPrivilege: argument.setxattr_flags & UInt32(FUSE_SETXATTR_ACL_KILL_SGID) != 0)
            return .init()
        }
    }

    private func createUnnamed(_ header: fuse_in_header) {
        let argument = argument(fuse_create_in.self)
        let request = request(header, mask: argument?.umask ?? 0)
        reply(header, request) { () throws(Errno) in
            guard let argument = argument else { throw .invalidArgument }
            let (attributes, file) = try session.backend.createUnnamed(
                request, parent: header.nodeid, mode: argument.mode, flags: argument.flags)
            return DirectReply(attributes, file)
        }
    }

    /// Runs the body and writes its result, or its error.
    private func reply(
        _ header: fuse_in_header, _ request: FuseRequest, _ body: () throws(Errno) -> DirectReply
    ) {
        var reply: DirectReply
        do throws(Errno) {
            reply = try body()
        } catch {
            reply = DirectReply()
            reply.header.error = -error.rawValue
        }
        reply.header.unique = header.unique
        reply.header.len = UInt32(reply.byteCount)
        let byteCount = reply.byteCount
        unsafe withUnsafeBytes(of: &reply) { bytes in
            _ = unsafe write(session.descriptor, bytes.baseAddress, byteCount)
        }
        session.backend.didReply(request)
    }
}

/// A reply's bytes: the header, and for a new open file its entry.
private struct DirectReply {
    var header = fuse_out_header()
    var entry = fuse_entry_out()
    var file = fuse_open_out()
    private var hasFile = false

    init() {}

    init(_ attributes: NodeAttributes, _ opened: FuseOpenedFile) {
        entry = attributes.entry
        file.fh = opened.handle
        file.open_flags = opened.openFlags
        hasFile = true
    }

    /// How many of the bytes are the reply.
    var byteCount: Int {
        let headerCount = MemoryLayout<fuse_out_header>.size
        return hasFile
            ? headerCount + MemoryLayout<fuse_entry_out>.size + MemoryLayout<fuse_open_out>.size : headerCount
    }
}
