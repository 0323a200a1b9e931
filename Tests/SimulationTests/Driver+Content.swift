import DiskFormat
import Platform
import RedoxFS
import SystemPackage

/// Bytes of files, attributes and extended attributes.
extension Driver {
    mutating func applyToContent(_ operation: Operation, _ context: inout RequestContext) throws {
        switch operation {
        case .write(let node, let offset, let bytes): try write(node, offset, bytes, &context)
        case .read(let node, let offset, let count): try read(node, offset, count)
        case .truncate(let node, let size): try truncate(node, size, &context)
        case .allocate(let node, let mode, let offset, let length): try allocate(node, mode, offset, length, &context)
        case .seek(let node, let offset): try seek(node, offset)
        case .changeMode(let node, let mode):
            try change(node, AttributeChanges(mode: mode), &context) { $0.mode = mode }
        case .changeOwner(let node, let uid, let gid):
            try change(node, AttributeChanges(uid: uid, gid: gid), &context) {
                $0.uid = uid
                $0.gid = gid
            }
        case .changeTimes(let node, let atime, let mtime):
            try change(node, AttributeChanges(atime: atime, mtime: mtime), &context) {
                $0.atime = atime
                $0.mtime = mtime
            }
        case .setAttribute(let node, let name, let value): try setAttribute(node, name, value, &context)
        case .removeAttribute(let node, let name): try removeAttribute(node, name, &context)
        default: throw Disagreement(description: "step \(step): \(operation) is not about content")
        }
    }

    /// What reading or writing the bytes of a node must give.
    private func expectFile(_ id: NodeID) -> Expectation {
        switch model.nodes[id]?.kind {
        case .file: .success
        case .directory: .failure([Errno.isDirectory.rawValue])
        case nil: .failure([Errno.noSuchFileOrDirectory.rawValue, Errno.staleNFSFileHandle.rawValue])
        default: .failure([Errno.invalidArgument.rawValue])
        }
    }

    private mutating func write(_ id: NodeID, _ offset: UInt64, _ bytes: [UInt8], _ context: inout RequestContext)
        throws
    {
        let written = try call("write \(bytes.count) bytes to \(id) at \(offset)", expectFile(id)) {
            try $0.write(id, at: offset, bytes.rawBytes, &context)
        }
        guard let written else { return }
        try hold(written == bytes.count, "write to \(id) took \(written) of \(bytes.count) bytes")
        model.nodes[id]?.file.write(at: offset, bytes)
        model.touch(id, context.time)
    }

    private mutating func read(_ id: NodeID, _ offset: UInt64, _ count: Int) throws {
        let bytes = try call("read \(count) bytes of \(id) at \(offset)", expectFile(id)) {
            try readBytes($0, id, offset, count)
        }
        guard let bytes, let node = model.nodes[id] else { return }
        try hold(
            bytes == node.file.read(at: offset, count: count),
            "read of \(count) bytes of \(id) at \(offset) differs (size \(node.file.size))")
    }

    private mutating func truncate(_ id: NodeID, _ size: UInt64, _ context: inout RequestContext) throws {
        if model.nodes[id]?.file.size == size { return }
        let done = try call("truncate \(id) to \(size)", expectFile(id)) {
            try $0.setAttributes(id, AttributeChanges(size: size), &context)
        }
        guard done != nil else { return }
        model.nodes[id]?.file.truncate(to: size)
        model.touch(id, context.time)
    }

    private mutating func allocate(
        _ id: NodeID, _ mode: AllocateMode, _ offset: UInt64, _ length: UInt64, _ context: inout RequestContext
    ) throws {
        var expectation = expectFile(id)
        if case .failure(var numbers) = expectation {
            numbers.formUnion([19, Errno.invalidArgument.rawValue])
            expectation = .failure(numbers)
        }
        let done: Void? = try call("allocate \(mode) \(length) bytes of \(id) at \(offset)", expectation) {
            try $0.allocate(id, mode: mode, at: offset, length: length, &context)
        }
        guard done != nil else { return }
        switch mode {
        case .punchHole: model.nodes[id]?.file.zero(from: offset, to: offset + length)
        case .zeroRange(let keepSize):
            model.nodes[id]?.file.zero(from: offset, to: offset + length)
            if !keepSize { model.nodes[id]?.file.extend(to: offset + length) }
        case .reserve(let keepSize):
            if !keepSize { model.nodes[id]?.file.extend(to: offset + length) }
        }
        // Linux leaves the times of fallocate(2) to the file system: take what the engine gives.
        let attributes = try fileSystem.attributes(id)
        model.nodes[id]?.mtime = attributes.mtime
        model.nodes[id]?.ctime = attributes.ctime
    }

    private mutating func seek(_ id: NodeID, _ offset: UInt64) throws {
        guard let node = model.nodes[id], node.kind == .file else { return }
        let size = node.file.size
        let beyond: Expectation = offset < size ? .success : .failure([Errno(rawValue: 6).rawValue])
        let hole = try call("seek hole in \(id) from \(offset)", beyond) { try $0.seek(id, from: offset, .hole) }
        if let hole { try hold(hole >= offset && hole <= size, "a hole of \(id) at \(hole), size \(size)") }
        do {
            let data = try fileSystem.seek(id, from: offset, .data)
            try hold(data >= offset && data < size, "data of \(id) at \(data), size \(size)")
            try hold(node.file.isZero(from: offset, to: data), "\(id) has data before \(data), skipped from \(offset)")
        } catch let error as FileSystemError {
            try hold(error.errno.rawValue == 6, "seek data in \(id) failed: \(error)")
            try hold(
                offset >= size || node.file.isZero(from: offset, to: size), "\(id) has data after \(offset), not found")
        }
    }

    private mutating func change(
        _ id: NodeID, _ changes: AttributeChanges, _ context: inout RequestContext, _ update: (inout ModelNode) -> Void
    ) throws {
        guard var node = model.nodes[id] else { return }
        let changed = try call("setattr \(changes) of \(id)", .success) { try $0.setAttributes(id, changes, &context) }
        guard let changed else { return }
        update(&node)
        node.ctime = context.time
        // What chown(2) does to the set-id bits is the kernel's to ask for, and tested at the mount.
        model.nodes[id] = node
        try compare(changed, node)
    }

    private mutating func setAttribute(
        _ id: NodeID, _ name: [UInt8], _ value: [UInt8], _ context: inout RequestContext
    ) throws {
        let expectation: Expectation = value.count > 65536 ? .failure([Errno(rawValue: 7).rawValue]) : .success
        let done: Void? = try call("setxattr \(Text(name)) of \(id), \(value.count) bytes", expectation) {
            try $0.setExtendedAttribute(id, name, value.rawBytes, &context)
        }
        guard done != nil else { return }
        model.nodes[id]?.attributes[name] = value
        model.nodes[id]?.ctime = context.time
    }

    private mutating func removeAttribute(_ id: NodeID, _ name: [UInt8], _ context: inout RequestContext) throws {
        let present = model.nodes[id]?.attributes[name] != nil
        let done: Void? = try call("removexattr \(Text(name)) of \(id)", present ? .success : .failure([61])) {
            try $0.removeExtendedAttribute(id, name, &context)
        }
        guard done != nil else { return }
        model.nodes[id]?.attributes[name] = nil
        model.nodes[id]?.ctime = context.time
    }
}
