import DiskFormat
import RedoxFS
import SchemeKit

extension FileScheme {
    /// The kinds of attributes that Linux has (xattr(7)); of `system.` only access lists.
    private static let prefixes = ["user.", "trusted.", "security."].map { Array($0.utf8) }

    private func checked(_ name: RawSpan) throws(Errno) -> [UInt8] {
        let bytes = unsafe name.withUnsafeBytes { unsafe [UInt8]($0) }
        if bytes == AccessControlList.accessName || bytes == AccessControlList.defaultName { return bytes }
        for prefix in Self.prefixes where bytes.starts(with: prefix) {
            guard bytes.count > prefix.count else { throw .invalidArgument }
            return bytes
        }
        throw Errno(rawValue: 95)
    }

    /// A node's access list; nil if it has none.
    func accessList(_ node: NodeID, _ name: [UInt8]) throws(Errno) -> AccessControlList? {
        do throws(FileSystemError) {
            return AccessControlList(decoding: try fileSystem.extendedAttribute(node, name))
        } catch {
            if error == .noAttribute { return nil }
            throw error.errno
        }
    }

    /// Writes a value.
    public func extendedAttribute(
        _ node: UInt64, _ name: RawSpan, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let (id, name) = (try id(node), try checked(name))
        let value = try inspect { () throws(FileSystemError) in try fileSystem.extendedAttribute(id, name) }
        return try copy(value, into: &buffer)
    }

    private func copy(_ bytes: [UInt8], into buffer: inout MutableRawSpan) throws(Errno) -> Int {
        if buffer.byteCount == 0 { return bytes.count }
        guard bytes.count <= buffer.byteCount else { throw .outOfRange }
        unsafe buffer.copyBytes(from: bytes.span.bytes)
        return bytes.count
    }

    /// Writes all names.
    public func listExtendedAttributes(
        _ node: UInt64, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let id = try id(node)
        let names = try inspect { () throws(FileSystemError) in try fileSystem.listExtendedAttributes(id) }
        var all: [UInt8] = []
        for name in names { all += name + [0] }
        return try copy(all, into: &buffer)
    }

    /// Sets an attribute. An access list also sets the permission bits, and isn't kept if they say the same.
    public func setExtendedAttribute(
        _ node: UInt64, _ name: RawSpan, _ value: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {
        let (id, name) = (try id(node), try checked(name))
        guard flags < 3 else { throw .invalidArgument }
        if name == AccessControlList.accessName || name == AccessControlList.defaultName {
            return try setAccessList(id, name, unsafe value.withUnsafeBytes { unsafe [UInt8]($0) }, &context)
        }
        let mode: AttributeSetMode = flags == 1 ? .create : flags == 2 ? .replace : .any
        try change(&context) { (request) throws(FileSystemError) in
            try fileSystem.setExtendedAttribute(id, name, value, mode: mode, &request)
        }
    }

    private func setAccessList(
        _ id: NodeID, _ name: [UInt8], _ value: [UInt8], _ context: inout CallContext
    ) throws(Errno) {
        let isEmpty = value.count <= 4
        let list = AccessControlList(decoding: value)
        guard isEmpty || list != nil else { throw .invalidArgument }
        let attributes = try inspect { () throws(FileSystemError) in try fileSystem.attributes(id) }
        let hadList = try accessList(id, name) != nil
        let isAccess = name == AccessControlList.accessName
        guard isAccess || attributes.kind == .directory else { throw isEmpty ? .noData : .permissionDenied }
        let killsGroup = context.killPrivileges
        try changeSeveral(&context) { (request) throws(FileSystemError) in
            if isAccess, let list {
                // Not in the group and without the privilege: set-group-id goes, as with chmod(2).
                let kept = attributes.mode & (killsGroup ? 0o5000 : 0o7000)
                try fileSystem.setAttributes(id, AttributeChanges(mode: kept | list.mode), &request)
            }
            if let list, !(isAccess && list.isMinimal) {
                unsafe try fileSystem.setExtendedAttribute(id, name, list.encoded.span.bytes, &request)
            } else if hadList {
                try fileSystem.removeExtendedAttribute(id, name, &request)
            }
        }
    }

    /// Removes an attribute.
    public func removeExtendedAttribute(
        _ node: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) {
        let (id, name) = (try id(node), try checked(name))
        try change(&context) { (request) throws(FileSystemError) in
            try fileSystem.removeExtendedAttribute(id, name, &request)
        }
    }
}
