import DiskFormat
import Platform
import RedoxFS
import SchemeKit

extension FileScheme {
    /// Reads. Access times aren't kept: most reads are the kernel's, ahead of time or not at all.
    public func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        let id = try id(node)
        do throws(FileSystemError) {
            return try fileSystem.read(id, at: offset, into: &buffer)
        } catch {
            throw error.errno
        }
    }

    /// Writes.
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let id = try id(node)
        guard try hasPrivileges(id, context) else {
            return try change(&context) { (request) throws(FileSystemError) in
                try fileSystem.write(id, at: offset, bytes, &request)
            }
        }
        return try changeSeveral(&context) { (request) throws(FileSystemError) in
            try fileSystem.setAttributes(id, AttributeChanges(killSuidgid: true), &request)
            return try fileSystem.write(id, at: offset, bytes, &request)
        }
    }

    /// Whether the caller's change must take set-user-id or set-group-id away.
    private func hasPrivileges(_ id: NodeID, _ context: CallContext) throws(Errno) -> Bool {
        guard context.killPrivileges else { return false }
        let mode = try inspect { () throws(FileSystemError) in try fileSystem.attributes(id).mode }
        return mode & 0o4000 != 0 || mode & 0o2010 == 0o2010
    }

    /// Reserves, punches or zeroes a range. EOPNOTSUPP for what else fallocate(2) knows.
    public func allocate(
        _ node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) {
        let id = try id(node)
        let wanted: AllocateMode
        switch mode {
        case 0: wanted = .reserve(keepSize: false)
        case 0x01: wanted = .reserve(keepSize: true)
        case 0x03: wanted = .punchHole
        case 0x10: wanted = .zeroRange(keepSize: false)
        case 0x11: wanted = .zeroRange(keepSize: true)
        default: throw Errno(rawValue: 95)
        }
        let kills = try hasPrivileges(id, context)
        try changeSeveral(&context) { (request) throws(FileSystemError) in
            if kills { try fileSystem.setAttributes(id, AttributeChanges(killSuidgid: true), &request) }
            try fileSystem.allocate(id, mode: wanted, at: offset, length: count, &request)
        }
    }

    /// Finds data (whence 3) or a hole (4).
    public func seek(
        _ node: UInt64, handle: UInt64, from offset: UInt64, whence: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let id = try id(node)
        let target: SeekTarget
        switch whence {
        case 3: target = .data
        case 4: target = .hole
        default: throw .invalidArgument
        }
        return try inspect { () throws(FileSystemError) in try fileSystem.seek(id, from: offset, target) }
    }

    /// Copies a range.
    public func copyRange(
        _ node: UInt64, handle: UInt64, at offset: UInt64, to target: UInt64, targetHandle: UInt64,
        targetOffset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let (from, to) = (try id(node), try id(target))
        let (end, overflow) = offset.addingReportingOverflow(count)
        let (_, targetOverflow) = targetOffset.addingReportingOverflow(count)
        guard !overflow, !targetOverflow else { throw .invalidArgument }
        let kills = try hasPrivileges(to, context)
        let buffer = AlignedBuffer(byteCount: Int(min(count, 1 << 20)))
        return try changeSeveral(&context) { (request) throws(FileSystemError) -> UInt64 in
            if kills { try fileSystem.setAttributes(to, AttributeChanges(killSuidgid: true), &request) }
            var position = offset
            while position < end {
                var piece = buffer.mutableBytes(0..<Int(min(end - position, UInt64(buffer.byteCount))))
                let read = try fileSystem.read(from, at: position, into: &piece)
                guard read > 0 else { break }
                let written = try fileSystem.write(
                    to, at: targetOffset + (position - offset), buffer.bytes(0..<read), &request)
                position += UInt64(written)
                if written < read { break }
            }
            return position - offset
        }
    }
}
