import Platform
import SchemeProtocol
import SystemPackage

/// A scheme in terms of nodes: what a file system serves. `Scheme` is the simpler protocol in terms of paths.
///
/// Nodes have numbers of the scheme's choice, never 0, that stay the same for as long as the node exists, also in the next
/// incarnation. Handles have numbers of the client's choice. Every call has a default that answers ENOSYS (or does nothing,
/// where that is right), so a scheme implements what it has.
///
/// A call that must wait throws `.wouldBlock`: if the caller doesn't mind waiting, it is kept and tried again each time
/// the node is woken (`CallContext.wake`, `SchemeHost.wake`), else the caller gets EAGAIN.
///
/// Names are copies: valid UTF-8 or not, with any bytes; never empty, at most 255 bytes, without "/" and NUL (checked before the call).
public protocol NodeScheme: AnyObject, Sendable {
    /// The number of the root directory.
    var rootNode: UInt64 { get }
    /// Calls come one at a time. False if the scheme does its own locking: calls then come from several threads.
    var isSerial: Bool { get }
    /// The scheme decides itself whether the umask counts, as a default ACL in the directory takes its place. Otherwise modes come with
    /// the umask applied.
    var appliesMask: Bool { get }
    /// The number of the last change that the durable state held when the scheme started; 0 without durable state.
    var recoveredSequence: UInt64 { get }

    /// Finds a name in a directory. ENOENT if there is none.
    func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    /// The kernel forgot a node that it looked up `count` times.
    func forget(_ node: UInt64, count: UInt64)
    /// Attributes of a node, perhaps through an open handle (0: none).
    func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    /// Changes attributes.
    func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes
    /// Writes the target of a symbolic link into the buffer; returns its length.
    func readLink(_ node: UInt64, into buffer: inout MutableRawSpan, _ context: inout CallContext) throws(Errno) -> Int
    /// Makes a symbolic link.
    func symbolicLink(
        _ parent: UInt64, _ name: RawSpan, target: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes
    /// Makes a node of the type in `mode`; the umask is for schemes with default ACLs (`appliesMask`), and already applied to `mode` otherwise.
    func makeNode(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, device: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes
    /// Makes a directory.
    func makeDirectory(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes
    /// Removes a name that isn't a directory's.
    func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno)
    /// Removes an empty directory.
    func removeDirectory(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno)
    /// Renames, with the flags of renameat2(2).
    func rename(
        _ parent: UInt64, _ name: RawSpan, to newParent: UInt64, _ newName: RawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno)
    /// Gives a node another name.
    func link(
        _ node: UInt64, _ newParent: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes

    /// Opens a node as `handle`. Flags as open(2), without O_CREAT and O_EXCL.
    func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno)
    /// Makes a file (or opens it if it exists and flags allow) and opens it as `handle`.
    func create(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes
    /// Makes a file without a name and opens it as `handle`.
    func createUnnamed(
        _ parent: UInt64, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes
    /// Reads at an offset; 0 at the end.
    func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int
    /// Writes at an offset. The bytes lie in shared memory and can change while they are read.
    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int
    /// As the other `write`, with bytes that lie on pages of the channel's memory: for schemes that hand them on to a device. By
    /// default it calls the other one.
    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ slice: BufferSlice, _ context: inout CallContext
    ) throws(Errno) -> Int
    /// A descriptor of the handle was closed.
    func flush(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno)
    /// Ends a handle.
    func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno)
    /// Makes a file durable.
    func synchronize(_ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext) throws(Errno)
    /// Reserves, frees or zeroes a range; mode as fallocate(2).
    func allocate(
        _ node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno)
    /// The next data (whence 3) or hole (4) from an offset on, as lseek(2).
    func seek(
        _ node: UInt64, handle: UInt64, from offset: UInt64, whence: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64
    /// Copies a range between two files; returns the count.
    func copyRange(
        _ node: UInt64, handle: UInt64, at offset: UInt64, to target: UInt64, targetHandle: UInt64,
        targetOffset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) -> UInt64

    /// Opens a directory as `handle`.
    func openDirectory(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno)
    /// Writes entries from a position on, with attributes if asked for, until the listing is full. Position 0 is the start; "." and
    /// ".." are the router's.
    func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno)
    /// Ends a directory handle.
    func closeDirectory(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno)

    /// Figures of the file system.
    func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures
    /// Sets an extended attribute; flags as setxattr(2).
    func setExtendedAttribute(
        _ node: UInt64, _ name: RawSpan, _ value: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno)
    /// Writes the value into the buffer and returns its size; ERANGE if the buffer is too small, unless it is empty.
    func extendedAttribute(
        _ node: UInt64, _ name: RawSpan, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int
    /// Writes all names, each ended by 0, and returns their size; ERANGE if the buffer is too small, unless it is empty.
    func listExtendedAttributes(
        _ node: UInt64, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int
    /// Removes an extended attribute.
    func removeExtendedAttribute(_ node: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno)
    /// Checks permission, for schemes with rules of their own.
    func access(_ node: UInt64, mask: UInt32, _ context: inout CallContext) throws(Errno)

    /// Events that are ready (poll(2) bits).
    func poll(_ node: UInt64, handle: UInt64, events: UInt32, _ context: inout CallContext) throws(Errno) -> UInt32
    /// A device control call: input bytes, room for output; returns result and count of output bytes.
    func control(
        _ node: UInt64, handle: UInt64, command: UInt64, argument: UInt64, _ input: RawSpan,
        into output: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> (result: Int64, count: Int)
    /// Tests for a lock in the way, or sets one.
    func testLock(
        _ node: UInt64, handle: UInt64, _ lock: FileLock, _ context: inout CallContext
    ) throws(Errno) -> FileLock
    /// Sets or removes a POSIX lock; throws `.wouldBlock` if another is in the way.
    func setLock(_ node: UInt64, handle: UInt64, _ lock: FileLock, _ context: inout CallContext) throws(Errno)
    /// Sets or removes a whole-file lock; throws `.wouldBlock` if another is in the way.
    func setFileLock(_ node: UInt64, handle: UInt64, _ lock: FileLock, _ context: inout CallContext) throws(Errno)
    /// Opens a path relative to the root, for other schemes that use this one: returns the node that `handle` then refers to.
    func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64
    /// Makes another handle from one, perhaps as another kind; returns the node that it refers to.
    func duplicate(
        _ node: UInt64, handle: UInt64, as newHandle: UInt64, kind: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> UInt64
    /// A call that only the scheme understands.
    func call(
        _ node: UInt64, handle: UInt64, _ arguments: RequestArguments, _ input: RawSpan,
        into output: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> (result: Int64, count: Int)

    /// The answer to a call that asked for this (`CallContext.tellsWhenAnswered`) is posted: whatever becomes of this process now,
    /// the client has it.
    func answered(_ node: UInt64, handle: UInt64, _ context: inout CallContext)
    /// A waiting call was cancelled: returns what it had done by then as its result (a short count), nil for EINTR.
    func cancelled(requestID: UInt64, channel: UInt32, node: UInt64) -> Int64?
    /// A channel ended: its client is gone for good, and with it the handles that came through it.
    func channelEnded(_ channel: UInt32)
    /// Makes everything durable that was answered before; returns the number of the last change covered.
    func commit(_ context: inout CallContext) throws(Errno) -> UInt64
    /// A handle that was open when the last incarnation died. Called before anything is replayed: a node that isn't there yet
    /// (ENOENT) will be made by the replay, and is offered again after each replayed request until it is.
    func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno)
    /// Everything was handed over and replayed: what no handle holds may go.
    func replayFinished(_ context: inout CallContext) throws(Errno)
    /// The end of the process was asked for: make everything durable.
    func finish() throws(Errno)
    /// Changes settings while the scheme runs.
    func set(_ fields: [ControlMessage.Field]) throws(Errno)
    /// Settings and figures, for `status`.
    func report() -> [ControlMessage.Field]
}

/// Directory entries on their way into a reply.
public struct DirectoryListing: ~Copyable, ~Escapable {
    private var bytes: MutableRawSpan
    /// Bytes written.
    public private(set) var count = 0

    @_lifetime(copy bytes)
    init(_ bytes: consuming MutableRawSpan) { self.bytes = bytes }

    /// Adds an entry; false if there is no room: end the listing.
    @_lifetime(self: copy self)
    public mutating func append(
        _ name: RawSpan, node: UInt64, kind: UInt8, nextPosition: UInt64, attributes: NodeAttributes? = nil
    ) -> Bool {
        DirectoryRecord(node: node, nextPosition: nextPosition, kind: kind, attributes: attributes)
            .append(name: name, to: &bytes, at: &count)
    }

    /// Adds the entry of a place in a list of all: the position behind it is the next place. False if there is no room.
    @_lifetime(self: copy self)
    public mutating func append(_ name: String, at place: Int, _ attributes: NodeAttributes, isShown: Bool) -> Bool {
        let name = Array(name.utf8)
        let span = name.span
        return append(
            unsafe span.bytes, node: attributes.node, kind: UInt8((attributes.mode & ModeBits.typeMask) >> 12),
            nextPosition: UInt64(place + 1), attributes: isShown ? attributes : nil)
    }
}
