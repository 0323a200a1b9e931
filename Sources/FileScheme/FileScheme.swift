import BlockDevice
import DiskFormat
import Platform
import RedoxFS
import SchemeKit

/// RedoxFS as a scheme: the calls of the scheme protocol on the nodes of one file system.
///
/// What makes a repetition after a death exact: times and owners come with the calls, each change has a number taken when it is
/// applied, numbers that a repetition had before are given again, and calls that change several things change nothing else in
/// between (`ChangeGate`).
public final class FileScheme: NodeScheme {
    let fileSystem: FileSystem
    let gate: ChangeGate
    let open = Locked(OpenFiles())
    let removed = Locked(RemovedDirectories())
    private let host: SchemeHost?
    private let note: HeaderNote?

    /// The number of the root directory.
    public var rootNode: UInt64 { UInt64(NodeID.root.rawValue) }
    /// The engine does its own locking.
    public var isSerial: Bool { false }
    /// A directory's default ACL takes the umask's place.
    public var appliesMask: Bool { true }
    /// The number of the last change that the image contained when it was opened.
    public let recoveredSequence: UInt64

    /// Opens the file system on a device.
    ///
    /// - Parameters:
    ///   - host: the process that the scheme runs in; nil in tests without one.
    ///   - note: where the newest header lies is read from there and written there.
    public init(
        _ device: any BlockDevice, options: OpenOptions, host: SchemeHost? = nil, note: HeaderNote? = nil
    ) throws(FileSystemError) {
        var options = options
        options.keepsUnnamed = true
        options.tellsBirthsApart = true
        options.departedStay = 128
        options.lastHeader = note?.place
        let gate = ChangeGate()
        if let host { options.beforeDurable = { sequence in host.waitUntilPosted(gate.lastToTell(of: sequence)) } }
        self.gate = gate
        fileSystem = try FileSystem(opening: device, options: options)
        self.host = host
        // What was opened is the newest, unless it is an old generation that was asked for.
        self.note = options.generation == nil ? note : nil
        self.note?.write(fileSystem.headerPlace)
        recoveredSequence = fileSystem.statistics().durableSequence
    }

    // MARK: Changes

    /// Runs a change with the call's time, owner and number; the number that it was given becomes the call's.
    func change<Result>(
        _ context: inout CallContext, time: WireTime? = nil,
        _ body: (inout RequestContext) throws(FileSystemError) -> Result
    ) throws(Errno) -> Result {
        var request = engineContext(context, time)
        defer { ended(request, &context) }
        return try gate.single { () throws(Errno) in
            do throws(FileSystemError) { return try body(&request) } catch { throw error.errno }
        }
    }

    /// Runs a call that consists of several changes. Made again after it was made in part, it must come to the same end.
    func changeSeveral<Result>(
        _ context: inout CallContext, time: WireTime? = nil,
        _ body: (inout RequestContext) throws(FileSystemError) -> Result
    ) throws(Errno) -> Result {
        var request = engineContext(context, time)
        request.isStepOfRepetition = context.isReplay
        var first: UInt64 = 0
        defer {
            ended(request, &context)
            context.firstSequence = min(first, request.sequence)
        }
        return try gate.several {
            first = fileSystem.statistics().sequence &+ 1
            return first
        } _: { () throws(Errno) in
            do throws(FileSystemError) { return try body(&request) } catch { throw error.errno }
        }
    }

    /// Takes over the number of a change, or says that one is repeated.
    func ended(_ request: RequestContext, _ context: inout CallContext) {
        context.sequence = request.sequence
        if context.isReplay { fileSystem.endRepetition(of: context.replaySequence) }
    }

    func engineContext(_ context: CallContext, _ time: WireTime? = nil) -> RequestContext {
        let time = time ?? context.time
        var request = RequestContext(
            time: Timespec(seconds: time.seconds, nanoseconds: time.nanoseconds), uid: context.uid, gid: context.gid)
        request.repeatedSequence = context.replaySequence
        return request
    }

    /// Runs what changes nothing.
    func inspect<Result>(_ body: () throws(FileSystemError) -> Result) throws(Errno) -> Result {
        do throws(FileSystemError) { return try body() } catch { throw error.errno }
    }

    /// The engine's number of a node. ESTALE if it can't be one.
    func id(_ node: UInt64) throws(Errno) -> NodeID {
        guard let number = UInt32(exactly: node), number != 0 else { throw .staleNFSFileHandle }
        return NodeID(number)
    }

    // MARK: Durability

    /// Makes everything durable that was answered before.
    public func commit(_ context: inout CallContext) throws(Errno) -> UInt64 {
        try makeDurable()
        return fileSystem.statistics().durableSequence
    }

    /// Makes a file durable: the file system has one log, so everything is.
    public func synchronize(
        _ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext
    ) throws(Errno) {
        try makeDurable()
        host?.reportCommitted(fileSystem.statistics().durableSequence)
    }

    private func makeDurable() throws(Errno) {
        guard !fileSystem.isReadOnly else { return }
        try inspect { () throws(FileSystemError) in _ = try fileSystem.commit() }
        note?.write(fileSystem.headerPlace)
    }

    /// The end: commits, and shortens the log on disk.
    public func finish() throws(Errno) {
        try inspect { () throws(FileSystemError) in try fileSystem.close() }
    }

    /// Figures for `status`.
    public func report() -> [ControlMessage.Field] {
        let statistics = fileSystem.statistics()
        return [
            .init("generation", "\(statistics.generation)"), .init("total-blocks", "\(statistics.totalBlocks)"),
            .init("free-blocks", "\(statistics.freeBlocks)"), .init("dirty-bytes", "\(statistics.dirtyBytes)"),
            .init("sequence", "\(statistics.sequence)"), .init("durable-sequence", "\(statistics.durableSequence)"),
            .init("encrypted", "\(statistics.isEncrypted)"), .init("read-only", "\(fileSystem.isReadOnly)"),
        ]
    }

    /// Figures of the file system. Nodes aren't preallocated: there can be one for each free block.
    public func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        let statistics = fileSystem.statistics()
        return FileSystemFigures(
            blocks: statistics.totalBlocks, freeBlocks: statistics.freeBlocks,
            availableBlocks: statistics.availableBlocks, files: statistics.totalBlocks,
            freeFiles: statistics.availableBlocks, maximumName: UInt64(Limits.maximumNameLength),
            flags: fileSystem.isReadOnly ? 1 : 0)
    }
}

extension NodeAttributes {
    /// For as long as the kernel likes: nobody else changes the file system.
    private static let lasting: UInt32 = 1_000_000_000

    /// The engine's attributes as they travel.
    init(_ attributes: Attributes) {
        self.init(
            node: UInt64(attributes.node.rawValue), generation: UInt64(attributes.inodeGeneration),
            mode: UInt32(attributes.kind.modeBits | attributes.mode & 0o7777), size: attributes.size,
            blocks: attributes.blocks &* 8, links: attributes.links, uid: attributes.uid, gid: attributes.gid,
            device: attributes.device, accessTime: WireTime(attributes.atime),
            modificationTime: WireTime(attributes.mtime), changeTime: WireTime(attributes.ctime),
            birthTime: WireTime(attributes.btime), attributesValid: Self.lasting, nameValid: Self.lasting)
    }
}

extension WireTime {
    init(_ time: Timespec) { self.init(seconds: time.seconds, nanoseconds: time.nanoseconds) }
}

extension Timespec {
    init(_ time: WireTime) { self.init(seconds: time.seconds, nanoseconds: time.nanoseconds) }
}
