import BlockCodec
import BlockDevice
import DiskFormat
import Platform
import Synchronization

/// A RedoxFS on a block device.
///
/// All operations may be called from any thread. What they change is in memory until a commit; `commit` returns when
/// everything that was changed before is on the device. The engine reads no clock and draws no random number: times come
/// with the requests, and the same requests on the same image give the same bytes.
public final class FileSystem: Sendable {
    let state: Locked<EngineState>
    /// Signalled when a seal or the writing of a commit ends.
    let changed = ConditionVariable()
    let source: BlockSource
    let pool: BufferPool
    let workers: WorkerPool
    let header: Header
    let options: OpenOptions
    /// How many records wait for a worker to prepare them.
    let preparationBacklog = Atomic<Int>(0)

    /// The generation that was opened.
    public var openedGeneration: Generation { header.generation }
    /// The UUID.
    public var uuid: Bytes16 { header.uuid }
    /// Whether the file system was opened for reading only.
    public let isReadOnly: Bool

    /// Where the newest header is.
    public var headerPlace: HeaderPlace {
        HeaderPlace(
            uuid: header.uuid, start: source.start / UInt64(Limits.blockSize),
            generation: Generation(state.withLock { $0.durableGeneration }))
    }

    /// Opens the file system on a device.
    ///
    /// Opened for writing, nodes that lost their last name while they were open are deleted.
    /// - Throws: `.noFileSystem`, `.noGeneration`, `.wrongPassword`, `.notEncrypted`, `.readOnly` if the device can't be written,
    ///   `.corrupt` if a structure that is needed for opening breaks a rule, `.device`.
    public init(opening device: any BlockDevice, options: OpenOptions = OpenOptions()) throws(FileSystemError) {
        isReadOnly = options.readOnly || options.generation != nil
        if !isReadOnly, !device.isWritable { throw .readOnly }
        self.options = options
        pool = BufferPool(maximumBytesPerLevel: max(options.dirtyBytes, 16 << 20))
        do {
            workers = try WorkerPool(threads: options.threads)
        } catch {
            throw .system(error)
        }
        let found = try HeaderSearch.find(device, options)
        header = found.header
        let cipher = try Self.unlock(found, options.password)
        source = BlockSource(
            device: device, start: found.start &* UInt64(Limits.blockSize), blockCount: found.header.blockCount,
            cipher: cipher, pool: pool)
        let sequence = found.header.headerExtension?.sequence ?? 0
        let generation = found.header.generation.rawValue
        var initial = EngineState(
            blocks: BlockCache(maximumCleanCount: options.cacheBytes / 2 / Limits.blockSize, pool: pool),
            records: RecordCache(maximumCleanBytes: options.cacheBytes / 2, pool: pool),
            root: found.header.tree, blockCount: found.header.blockCount, isReadOnly: isReadOnly,
            generation: generation, durableGeneration: generation, sequence: sequence, durableSequence: sequence)
        initial.tellsBirthsApart = options.tellsBirthsApart
        initial.departed.stay = options.departedStay
        initial.nextNode = found.header.headerExtension?.nextNode ?? 0
        do {
            try AllocationLog.replay(found.header, source, into: &initial)
        } catch {
            // Reading needs no free space, and what an old generation's log says may be gone already.
            if !isReadOnly { throw error }
        }
        if !isReadOnly { RecentGenerations.restore(found.header, source, into: &initial) }
        do {
            try ReleaseList.read(found.header, source, into: &initial)
        } catch {
            if !isReadOnly { throw error }
        }
        for node in initial.release.nodes where options.keepsUnnamed {
            initial.inodes.update(UInt64(node), initial: InodeState()) { $0.isOrphan = true }
        }
        state = Locked(initial)
        if !isReadOnly, !options.keepsUnnamed { try recover() }
    }

    /// The cipher of an encrypted file system; nil for one that isn't.
    private static func unlock(
        _ found: HeaderSearch.Found, _ password: [UInt8]?
    ) throws(FileSystemError) -> BlockCipher? {
        guard HeaderRing.isEncrypted(found.ring) else {
            if password != nil { throw .notEncrypted }
            return nil
        }
        guard let password else { throw .wrongPassword }
        let cipher: BlockCipher?
        do {
            cipher = try KeySlots.unlock(found.header, among: found.ring, password: password)?.cipher
        } catch {
            throw .cipher("\(error)")
        }
        guard let cipher else { throw .wrongPassword }
        return cipher
    }

    /// Runs an operation that changes nothing on what is in memory, again after each load.
    @inline(__always)
    func inspect<Result>(
        _ body: (inout EngineState) throws(Fault) -> Result
    ) throws(FileSystemError) -> Result {
        while true {
            do throws(Fault) {
                return try state.withLock { (state) throws(Fault) in
                    guard !state.isClosed else { throw .failed(.closed) }
                    return try body(&state)
                }
            } catch {
                switch error {
                case .load(let loads): try load(loads)
                case .failed(let failure): throw failure
                case .noSpace, .unwritten: throw .noSpace
                case .attributes(let node, let pointer): try loadAttributes(node, pointer)
                case .parent(let directory): _ = try parent(of: directory)
                }
            }
        }
    }
}
