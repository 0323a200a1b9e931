import SchemeProtocol
import SystemPackage

/// One entry of a directory listing.
public struct FuseDirectoryEntry: ~Escapable {
    /// The name's bytes.
    public var name: RawSpan
    /// The entry's attributes; of a plain listing only `node` and the file type in `mode` count.
    public var attributes: NodeAttributes
    /// Where a listing goes on behind this entry.
    public var next: UInt64
    /// Attributes are more than node and file type: the kernel may keep them.
    public var hasAttributes: Bool

    /// An entry over the name's memory.
    @_lifetime(copy name)
    public init(name: RawSpan, attributes: NodeAttributes, next: UInt64, hasAttributes: Bool = true) {
        self.hasAttributes = hasAttributes
        self.name = name
        self.attributes = attributes
        self.next = next
    }
}

/// What open and create give the kernel.
public struct FuseOpenedFile: Sendable, Equatable {
    /// Comes back with each operation on the open file.
    public var handle: UInt64
    /// How the kernel is to treat the file.
    public var flags: OpenedFlags

    /// An open file.
    public init(handle: UInt64, flags: OpenedFlags = []) {
        self.handle = handle
        self.flags = flags
    }
}

/// Memory into which the next request is read: a backend whose server maps this memory gets payloads without a copy.
@unsafe
public struct FuseReceiveBuffer {
    /// Start; page aligned.
    public var base: UnsafeMutableRawPointer
    /// What the memory belongs to: the backend knows it.
    public var owner: AnyObject

    /// A buffer of `FuseSession.receiveByteCount` bytes that stay valid until it is given back.
    public init(base: UnsafeMutableRawPointer, owner: AnyObject) {
        unsafe self.base = unsafe base
        unsafe self.owner = owner
    }
}

/// What serves the requests of a mount: the router, or in tests a tree in memory.
///
/// Every operation is called on the thread that read the request, several at once, and blocks until it is done. Each throws the
/// errno that the application gets. Node ids are the kernel's; 1 is the mount's root.
///
/// A request can be handed out twice: once to a process that died, once to this one (`FuseRequest.isResent`). An operation that changes
/// state must then give the answer of the first time and not change it again.
public protocol FuseBackend: AnyObject, Sendable {
    /// Memory for a next request, or nil: the session uses memory of its own.
    func takeReceiveBuffer() -> FuseReceiveBuffer?
    /// Gives back memory of `takeReceiveBuffer`.
    func giveReceiveBuffer(_ buffer: FuseReceiveBuffer)
    /// The reply to this request has been written, or could not be: nothing about it needs to be remembered.
    func didReply(_ request: FuseRequest)
    /// The thread that reads requests found none, and is going to sleep.
    func willIdle()
    /// The caller of this request was interrupted by a signal.
    func interrupt(unique: UInt64)

    /// The node of a name. `.` and `..` occur (open by handle).
    func lookup(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno) -> NodeAttributes
    /// Attributes of a node.
    func attributes(_ request: FuseRequest, node: UInt64, handle: UInt64?) throws(Errno) -> NodeAttributes
    /// Changes attributes.
    func setAttributes(
        _ request: FuseRequest, node: UInt64, handle: UInt64?, _ changes: AttributeChangeSet
    ) throws(Errno) -> NodeAttributes
    /// A symbolic link's target.
    func readSymbolicLink(
        _ request: FuseRequest, node: UInt64, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno)

    /// Makes a file, directory, fifo, socket or device. `mode` is without the umask applied.
    func makeNode(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, mode: UInt32, device: UInt32
    ) throws(Errno) -> NodeAttributes
    /// Makes a symbolic link.
    func makeSymbolicLink(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, target: RawSpan
    ) throws(Errno) -> NodeAttributes
    /// Gives a node one more name.
    func link(_ request: FuseRequest, node: UInt64, parent: UInt64, name: RawSpan) throws(Errno) -> NodeAttributes
    /// Removes a name of anything but a directory.
    func unlink(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno)
    /// Removes an empty directory.
    func removeDirectory(_ request: FuseRequest, parent: UInt64, name: RawSpan) throws(Errno)
    /// Renames; flags are those of renameat2(2).
    func rename(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, newParent: UInt64, newName: RawSpan, flags: UInt32
    ) throws(Errno)

    /// Opens a file. flags are those of open(2); O_TRUNC truncates.
    func open(
        _ request: FuseRequest, node: UInt64, flags: UInt32, clearsPrivileges: Bool
    ) throws(Errno) -> FuseOpenedFile
    /// Makes a file and opens it, or opens the one that exists if flags lack O_EXCL.
    func create(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, mode: UInt32, flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile)
    /// Makes a file without a name and opens it (O_TMPFILE).
    func createUnnamed(
        _ request: FuseRequest, parent: UInt64, mode: UInt32, flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile)
    /// Closes; no error reaches anybody.
    func release(_ request: FuseRequest, node: UInt64, handle: UInt64, flags: UInt32)
    /// Reads up to `byteCount` bytes. Less than that is the end of the file.
    ///
    /// - Parameter isCacheRead: the kernel reads for its cache, not for a caller: a page of a mapping.
    func read(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, byteCount: Int, flags: UInt32,
        isCacheRead: Bool, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno)
    /// Writes; returns how many bytes.
    ///
    /// - Parameter buffer: the memory of `takeReceiveBuffer` in which the bytes lie, if they do. The backend may keep it by
    ///   setting nil.
    func write(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: UnsafeRawBufferPointer,
        in buffer: inout FuseReceiveBuffer?, flags: UInt32, isCacheWrite: Bool, clearsPrivileges: Bool
    ) throws(Errno) -> Int
    /// Makes the node's contents durable.
    func synchronize(_ request: FuseRequest, node: UInt64, handle: UInt64?, dataOnly: Bool) throws(Errno)
    /// Makes everything durable (syncfs).
    func synchronizeAll(_ request: FuseRequest, node: UInt64) throws(Errno)
    /// Reserves, punches or zeroes; mode is that of fallocate(2).
    func allocate(
        _ request: FuseRequest, node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, byteCount: UInt64
    ) throws(Errno)
    /// SEEK_DATA and SEEK_HOLE.
    func seek(
        _ request: FuseRequest, node: UInt64, handle: UInt64, from offset: UInt64, whence: Int32
    ) throws(Errno) -> UInt64
    /// Copies between two open files of the mount; returns how many bytes. EXDEV makes the kernel copy itself.
    func copyRange(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, to target: UInt64,
        targetHandle: UInt64, targetOffset: UInt64, byteCount: UInt64
    ) throws(Errno) -> Int
    /// poll(2): the events that hold now. With a `wakeHandle` the backend calls `FuseNotifier.poll` at the next change.
    func poll(
        _ request: FuseRequest, node: UInt64, handle: UInt64, events: UInt32, wakeHandle: UInt64?
    ) throws(Errno) -> UInt32

    /// Lists a directory from a position on (0: the start) until `body` returns false. Includes `.` and `..`.
    func readDirectory(
        _ request: FuseRequest, node: UInt64, handle: UInt64, from position: UInt64, byteCount: Int,
        withAttributes: Bool,
        _ body: (borrowing FuseDirectoryEntry) -> Bool
    ) throws(Errno)
    /// What statfs(2) shows.
    func statistics(_ request: FuseRequest, node: UInt64) throws(Errno) -> FileSystemFigures

    /// An extended attribute's value. ENODATA if there is none; ERANGE if it has more than `limit` bytes, unless that is 0.
    func extendedAttribute(
        _ request: FuseRequest, node: UInt64, name: RawSpan, limit: Int, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno)
    /// Sets an extended attribute; flags are those of setxattr(2). `clearsGroupPrivilege`: an ACL set by somebody outside of the group.
    func setExtendedAttribute(
        _ request: FuseRequest, node: UInt64, name: RawSpan, value: RawSpan, flags: UInt32, clearsGroupPrivilege: Bool
    ) throws(Errno)
    /// The names of the extended attributes, each ended by a zero byte.
    func listExtendedAttributes(
        _ request: FuseRequest, node: UInt64, limit: Int, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno)
    /// Removes an extended attribute.
    func removeExtendedAttribute(_ request: FuseRequest, node: UInt64, name: RawSpan) throws(Errno)
    /// ioctl(2) for the project's own use.
    func control(
        _ request: FuseRequest, node: UInt64, handle: UInt64, command: UInt32, input: RawSpan, outputByteCount: Int,
        _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) -> Int32
}

extension FuseBackend {
    /// No memory of its own.
    public func takeReceiveBuffer() -> FuseReceiveBuffer? { nil }
    /// Nothing to give back.
    public func giveReceiveBuffer(_ buffer: FuseReceiveBuffer) {}
    /// Nothing is remembered.
    public func didReply(_ request: FuseRequest) {}
    /// Nothing was put off.
    public func willIdle() {}
    /// Operations can't be interrupted.
    public func interrupt(unique: UInt64) {}
}
