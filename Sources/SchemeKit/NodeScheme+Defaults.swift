import Platform
import SchemeProtocol
import SystemPackage

// Documented in NodeScheme.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension NodeScheme {
    public var rootNode: UInt64 { 1 }
    public var isSerial: Bool { true }
    public var appliesMask: Bool { false }
    public var recoveredSequence: UInt64 { 0 }

    public func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    {
        throw .noSuchFileOrDirectory
    }
    public func forget(_ node: UInt64, count: UInt64) {}
    public func answered(_ node: UInt64, handle: UInt64, _ context: inout CallContext) {}
    public func attributes(
        _ node: UInt64, handle: UInt64, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .noFunction }
    public func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .notPermitted }
    public func readLink(
        _ node: UInt64, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int { throw .invalidArgument }
    public func symbolicLink(
        _ parent: UInt64, _ name: RawSpan, target: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .notPermitted }
    public func makeNode(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, device: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .notPermitted }
    public func makeDirectory(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .notPermitted }
    public func unlink(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        throw .notPermitted
    }
    public func removeDirectory(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) {
        throw .notPermitted
    }
    public func rename(
        _ parent: UInt64, _ name: RawSpan, to newParent: UInt64, _ newName: RawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) { throw .notPermitted }
    public func link(
        _ node: UInt64, _ newParent: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .notPermitted }

    public func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {}
    public func create(
        _ parent: UInt64, _ name: RawSpan, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .permissionDenied }
    public func createUnnamed(
        _ parent: UInt64, mode: UInt32, umask: UInt32, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes { throw .notSupported }
    public func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int { throw .invalidArgument }
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int { throw .invalidArgument }
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ slice: BufferSlice, _ context: inout CallContext
    ) throws(Errno) -> Int {
        try write(node, handle: handle, at: offset, slice.bytes, flags: context.flags, &context)
    }
    public func flush(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) {}
    public func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {}
    public func synchronize(
        _ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext
    ) throws(Errno) {}
    public func allocate(
        _ node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) { throw .notSupported }
    public func seek(
        _ node: UInt64, handle: UInt64, from offset: UInt64, whence: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 { throw .noFunction }
    public func copyRange(
        _ node: UInt64, handle: UInt64, at offset: UInt64, to target: UInt64, targetHandle: UInt64,
        targetOffset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) -> UInt64 { throw .noFunction }

    public func openDirectory(
        _ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) {}
    public func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno) { throw .notDirectory }
    public func closeDirectory(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) {}

    public func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        FileSystemFigures()
    }
    public func setExtendedAttribute(
        _ node: UInt64, _ name: RawSpan, _ value: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { throw .notSupported }
    public func extendedAttribute(
        _ node: UInt64, _ name: RawSpan, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int { throw .notSupported }
    public func listExtendedAttributes(
        _ node: UInt64, into buffer: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> Int { throw .notSupported }
    public func removeExtendedAttribute(
        _ node: UInt64, _ name: RawSpan, _ context: inout CallContext
    ) throws(Errno) { throw .notSupported }
    public func access(_ node: UInt64, mask: UInt32, _ context: inout CallContext) throws(Errno) { throw .noFunction }

    public func poll(
        _ node: UInt64, handle: UInt64, events: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt32 { events & (PollEvents.input | PollEvents.output) }
    public func control(
        _ node: UInt64, handle: UInt64, command: UInt64, argument: UInt64, _ input: RawSpan,
        into output: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> (result: Int64, count: Int) { throw .inappropriateIOCTLForDevice }
    public func testLock(
        _ node: UInt64, handle: UInt64, _ lock: FileLock, _ context: inout CallContext
    ) throws(Errno) -> FileLock { throw .noFunction }
    public func setLock(
        _ node: UInt64, handle: UInt64, _ lock: FileLock, _ context: inout CallContext
    ) throws(Errno) { throw .noFunction }
    public func setFileLock(
        _ node: UInt64, handle: UInt64, _ lock: FileLock, _ context: inout CallContext
    ) throws(Errno) { throw .noFunction }
    public func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 { throw .noFunction }
    public func duplicate(
        _ node: UInt64, handle: UInt64, as newHandle: UInt64, kind: RawSpan, _ context: inout CallContext
    ) throws(Errno) -> UInt64 { throw .notSupported }
    public func call(
        _ node: UInt64, handle: UInt64, _ arguments: RequestArguments, _ input: RawSpan,
        into output: inout MutableRawSpan, _ context: inout CallContext
    ) throws(Errno) -> (result: Int64, count: Int) { throw .noFunction }

    public func cancelled(requestID: UInt64, channel: UInt32, node: UInt64) -> Int64? { nil }
    public func channelEnded(_ channel: UInt32) {}
    public func commit(_ context: inout CallContext) throws(Errno) -> UInt64 { recoveredSequence }
    public func adopt(
        _ node: UInt64, generation: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { try open(node, handle: handle, flags: flags, &context) }
    public func replayFinished(_ context: inout CallContext) throws(Errno) {}
    public func finish() throws(Errno) {}
    public func set(_ fields: [ControlMessage.Field]) throws(Errno) { throw .invalidArgument }
    public func report() -> [ControlMessage.Field] { [] }
}

/// Bits of poll(2).
public enum PollEvents {
    /// There is something to read, or the end.
    public static let input: UInt32 = 0x001
    /// There is room to write.
    public static let output: UInt32 = 0x004
    /// An error: writing has no reader.
    public static let error: UInt32 = 0x008
    /// The other side is gone.
    public static let hangUp: UInt32 = 0x010
}

/// Bits of open(2) that schemes look at; Linux's values on the processors that Swift runs on.
public enum OpenFlags {
    /// The bits of the access mode.
    public static let accessMask: UInt32 = 3
    /// Reading only.
    public static let readOnly: UInt32 = 0
    /// Writing only.
    public static let writeOnly: UInt32 = 1
    /// Both.
    public static let readWrite: UInt32 = 2
    /// Make the file if there is none.
    public static let create: UInt32 = 0o100
    /// Fail if there is one.
    public static let exclusive: UInt32 = 0o200
    /// Throw the contents away.
    public static let truncate: UInt32 = 0o1000
    /// Every write goes to the end.
    public static let append: UInt32 = 0o2000
    /// Never wait.
    public static let nonBlocking: UInt32 = 0o4000
}
