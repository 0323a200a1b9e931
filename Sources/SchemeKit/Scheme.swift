import SchemeProtocol
import SystemPackage

/// A scheme in terms of paths: say what there is, and open it. `NodeScheme` is for whole file systems.
///
/// A path is relative to the scheme's root, "" for the root itself, without a leading or doubled "/". `PathScheme` serves it:
/// calls come one at a time.
public protocol Scheme: AnyObject, Sendable {
    /// What a path is: mode (type and permission bits), size and so on; the node number is filled in by the kit. ENOENT if there
    /// is nothing.
    func attributes(_ path: String) throws(Errno) -> NodeAttributes
    /// The names in a directory, in any order that stays the same.
    func entries(_ path: String) throws(Errno) -> [String]
    /// Opens a file. Flags as open(2); with `OpenFlags.create` a missing file is to be made with the mode's permission bits.
    func open(_ path: String, flags: UInt32, mode: UInt32, _ context: inout CallContext) throws(Errno) -> any OpenFile
    /// Removes a file.
    func unlink(_ path: String, _ context: inout CallContext) throws(Errno)
    /// Makes a directory.
    func makeDirectory(_ path: String, mode: UInt32, _ context: inout CallContext) throws(Errno)
    /// Removes an empty directory.
    func removeDirectory(_ path: String, _ context: inout CallContext) throws(Errno)
    /// Gives a file another path, with the flags of renameat2(2).
    func rename(_ path: String, to newPath: String, flags: UInt32, _ context: inout CallContext) throws(Errno)
    /// Changes attributes of a path.
    func setAttributes(_ path: String, _ changes: AttributeChangeSet, _ context: inout CallContext) throws(Errno)
    /// Figures of the scheme as a file system.
    func figures() -> FileSystemFigures
    /// The end of the process was asked for.
    func finish() throws(Errno)
    /// Changes settings while the scheme runs.
    func set(_ fields: [ControlMessage.Field]) throws(Errno)
    /// Settings and figures, for `status`.
    func report() -> [ControlMessage.Field]
}

/// An open file of a `Scheme`: what its `open` returned. It is let go when the last descriptor is closed.
///
/// A call that must wait throws `.wouldBlock`; it is tried again when `CallContext.node` was woken
/// (`CallContext.wake`, `SchemeHost.wake`).
public protocol OpenFile: AnyObject {
    /// What the kernel may do with the file. By default nothing is cached and there is no position.
    var opened: OpenedFlags { get }
    /// Reads at an offset; 0 at the end.
    func read(into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int
    /// Writes at an offset; returns how many bytes.
    func write(_ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext) throws(Errno) -> Int
    /// Attributes, where they aren't those of the path; nil to ask the scheme.
    func attributes() throws(Errno) -> NodeAttributes?
    /// Sets the size.
    func truncate(to size: UInt64, _ context: inout CallContext) throws(Errno)
    /// Makes what was written durable.
    func synchronize(dataOnly: Bool, _ context: inout CallContext) throws(Errno)
    /// Reserves, frees or zeroes a range; mode as fallocate(2).
    func allocate(mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext) throws(Errno)
    /// Another handle made from this one (Redox's dup with a kind).
    func duplicate(kind: String, _ context: inout CallContext) throws(Errno) -> any OpenFile
    /// Events that are ready (`PollEvents`).
    func poll(events: UInt32, _ context: inout CallContext) throws(Errno) -> UInt32
    /// The handle ends. Can't fail.
    func close(_ context: inout CallContext)
}

// Documented in Scheme and OpenFile.
// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension Scheme {
    public func entries(_ path: String) throws(Errno) -> [String] { throw .notDirectory }
    public func unlink(_ path: String, _ context: inout CallContext) throws(Errno) { throw .notPermitted }
    public func makeDirectory(_ path: String, mode: UInt32, _ context: inout CallContext) throws(Errno) {
        throw .notPermitted
    }
    public func removeDirectory(_ path: String, _ context: inout CallContext) throws(Errno) { throw .notPermitted }
    public func rename(
        _ path: String, to newPath: String, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) { throw .notPermitted }
    public func setAttributes(
        _ path: String, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) { throw .notPermitted }
    public func figures() -> FileSystemFigures { FileSystemFigures() }
    public func finish() throws(Errno) {}
    public func set(_ fields: [ControlMessage.Field]) throws(Errno) { throw .invalidArgument }
    public func report() -> [ControlMessage.Field] { [] }
}

// swift-format-ignore: AllPublicDeclarationsHaveDocumentation
extension OpenFile {
    public var opened: OpenedFlags { [.directIO, .stream] }
    public func read(
        into buffer: inout MutableRawSpan, at offset: UInt64, _ context: inout CallContext
    ) throws(Errno) -> Int { throw .invalidArgument }
    public func write(
        _ bytes: RawSpan, at offset: UInt64, _ context: inout CallContext
    ) throws(Errno) -> Int { throw .invalidArgument }
    public func attributes() throws(Errno) -> NodeAttributes? { nil }
    public func truncate(to size: UInt64, _ context: inout CallContext) throws(Errno) {}
    public func synchronize(dataOnly: Bool, _ context: inout CallContext) throws(Errno) {}
    public func allocate(
        mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) { throw .notSupported }
    public func poll(events: UInt32, _ context: inout CallContext) throws(Errno) -> UInt32 {
        events & (PollEvents.input | PollEvents.output)
    }
    public func duplicate(kind: String, _ context: inout CallContext) throws(Errno) -> any OpenFile {
        throw .notSupported
    }
    public func close(_ context: inout CallContext) {}
}
