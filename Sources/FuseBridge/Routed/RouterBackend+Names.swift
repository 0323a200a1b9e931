import Glibc
import Router
import SchemeProtocol
import SystemPackage

extension RouterBackend {
    /// Makes a file, directory, fifo, socket or device.
    public func makeNode(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, mode: UInt32, device: UInt32
    ) throws(Errno) -> NodeAttributes {
        let (route, directory) = try writable(parent)
        let opcode: Opcode = mode & S_IFMT == S_IFDIR ? .mkdir : .mknod
        let arguments = RequestArguments(word0: mask(mode, request), word1: UInt64(device))
        return try make(call(opcode, request, directory, arguments, payloadBytes: name.byteCount), route, name)
    }

    /// Mode and umask as they travel together.
    private func mask(_ mode: UInt32, _ request: FuseRequest) -> UInt64 { UInt64(mode) | UInt64(request.mask) << 32 }

    private func make(_ call: Call, _ route: SchemeRoute, _ name: RawSpan) throws(Errno) -> NodeAttributes {
        try route.perform(
            call,
            {
                put(name, at: 0, into: &$0); return name.byteCount
            }
        ) {
            answer throws(Errno) in try attributes(answer, route)
        }
    }

    /// Makes a symbolic link.
    public func makeSymbolicLink(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, target: RawSpan
    ) throws(Errno) -> NodeAttributes {
        let (route, directory) = try writable(parent)
        let count = name.byteCount + target.byteCount
        let arguments = RequestArguments(word1: UInt64(name.byteCount))
        let call = call(.symlink, request, directory, arguments, payloadBytes: count)
        return try route.perform(call) { payload in
            put(name, at: 0, into: &payload)
            put(target, at: name.byteCount, into: &payload)
            return count
        } _: { answer throws(Errno) in
            try attributes(answer, route)
        }
    }

    /// Gives a node one more name.
    public func link(
        _ request: FuseRequest, node: UInt64, parent: UInt64, name: RawSpan
    ) throws(Errno) -> NodeAttributes {
        let (route, number, directory) = try pair(node, parent)
        let call = call(
            .link, request, number, RequestArguments(word0: directory), payloadBytes: name.byteCount)
        return try make(call, route, name)
    }

    /// Removes a name of anything but a directory.
    public func unlink(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) {
        try remove(.unlink, request, parent, name)
    }

    /// Removes an empty directory.
    public func removeDirectory(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) {
        try remove(.rmdir, request, parent, name)
    }

    private func remove(_ opcode: Opcode, _ request: FuseRequest, _ parent: UInt64, _ name: RawSpan) throws(Errno) {
        let (route, directory) = try writable(parent)
        let call = call(opcode, request, directory, payloadBytes: name.byteCount)
        try route.perform(
            call,
            {
                put(name, at: 0, into: &$0); return name.byteCount
            }
        ) { _ in }
    }

    /// Renames. EXDEV between schemes.
    public func rename(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, newParent: UInt64, newName: RawSpan, flags: UInt32
    ) throws(Errno) {
        let (route, from, to) = try pair(parent, newParent)
        let count = name.byteCount + newName.byteCount
        var arguments = RequestArguments(flags: flags)
        arguments.word0 = to
        arguments.word1 = UInt64(name.byteCount)
        try route.perform(call(.rename, request, from, arguments, payloadBytes: count)) { payload in
            put(name, at: 0, into: &payload)
            put(newName, at: name.byteCount, into: &payload)
            return count
        } _: { _ in
        }
    }
}
