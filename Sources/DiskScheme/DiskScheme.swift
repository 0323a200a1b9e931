import BlockDevice
import Platform
import SchemeKit
import SystemPackage

/// Disks and partitions as files. The names are Redox's: `0` is the whole disk, `0p0` its first partition.
///
/// A disk is opened for writing by one client at a time: two file systems on one disk destroy it. Reads and writes go straight
/// between the channel's memory and the device.
public final class DiskScheme: NodeScheme {
    private struct Disk {
        let name: String
        let device: any BlockDevice
        let range: Range<UInt64>
    }

    private struct Open {
        let node: UInt64
        let isWriting: Bool
    }

    private struct Key: Hashable {
        let channel: UInt32
        let handle: UInt64
    }

    /// Calls come from several threads.
    public let isSerial = false
    private static let firstNode: UInt64 = 2
    private let faults: FaultyDevice
    private let whole: Disk
    private let known = Locked<[Disk]?>(nil)
    private let handles = Locked<[Key: Open]>([:])
    private let opened: OpenedFlags
    private let more: @Sendable () -> [ControlMessage.Field]

    /// The disk and its partitions. The table is read when somebody asks for a partition: a process starts also while its disk can't
    /// be reached.
    ///
    /// - Parameters:
    ///   - isRemote: each access to the device is a wait that others can share: many requests at once are better than much in one.
    ///   - figures: what the device has to report beside.
    public init(
        _ device: any BlockDevice, isRemote: Bool = false,
        figures: @escaping @Sendable () -> [ControlMessage.Field] = { [] }
    ) {
        more = figures
        let usual: OpenedFlags = [.directIO, .parallelDirectWrites, .noFlush, .writesAfterFlush]
        opened = isRemote ? usual : usual.union(.scattersWrites)
        let device = FaultyDevice(device)
        faults = device
        whole = Disk(name: "0", device: device, range: 0..<device.byteCount)
    }

    /// The whole disk first, then its partitions. Without a table there is the disk alone.
    private func disks() throws(Errno) -> [Disk] {
        if let known = known.withLock({ $0 }) { return known }
        var disks = [whole]
        let table: [Partition]
        do { table = try PartitionTable.read(faults) } catch { throw error.errno }
        for (index, partition) in table.enumerated() {
            guard
                let part = try? SubrangeDevice(faults, offset: partition.offset, byteCount: partition.byteCount)
            else { continue }
            disks.append(
                Disk(
                    name: "0p\(index)", device: part,
                    range: partition.offset..<(partition.offset + partition.byteCount)))
        }
        let found = disks
        known.withLock { $0 = found }
        return found
    }

    private func disk(_ node: UInt64) throws(Errno) -> Disk {
        if node == Self.firstNode { return whole }
        let disks = try disks()
        guard node > Self.firstNode, node - Self.firstNode < UInt64(disks.count) else { throw .staleNFSFileHandle }
        return disks[Int(node - Self.firstNode)]
    }

    private func attributes(_ node: UInt64, _ disk: Disk) -> NodeAttributes {
        NodeAttributes(
            node: node, mode: ModeBits.regular | (disk.device.isWritable ? 0o600 : 0o400), size: disk.device.byteCount,
            blocks: disk.device.byteCount / 512, attributesValid: 1000, nameValid: 1000)
    }

    // MARK: Names

    /// The disk of a name.
    public func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    {
        guard parent == 1 else { throw .notDirectory }
        // The whole disk is there also if its table can't be read.
        if name.isEqual(to: whole.name) { return attributes(Self.firstNode, whole) }
        for (index, disk) in try disks().enumerated() where name.isEqual(to: disk.name) {
            return attributes(Self.firstNode + UInt64(index), disk)
        }
        throw .noSuchFileOrDirectory
    }

    /// The attributes of the folder or a disk.
    public func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes
    {
        if node == 1 {
            return NodeAttributes(node: 1, mode: ModeBits.directory | 0o555, links: 2, attributesValid: 1000)
        }
        return attributes(node, try disk(node))
    }

    /// Nothing of a disk can be changed.
    public func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        // A disk has its size; opening with O_TRUNC is no error on a block device either.
        if changes.changesPermissions { throw .notPermitted }
        return try attributes(node, handle: handle, &context)
    }

    /// The disks.
    public func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno) {
        guard node == 1 else { throw .notDirectory }
        let disks = (try? disks()) ?? [whole]
        var index = Int(clamping: position)
        while index < disks.count {
            let name = Array(disks[index].name.utf8)
            let span = name.span
            let number = Self.firstNode + UInt64(index)
            guard
                listing.append(
                    unsafe span.bytes, node: number, kind: UInt8(ModeBits.regular >> 12),
                    nextPosition: UInt64(index + 1),
                    attributes: withAttributes ? attributes(number, disks[index]) : nil)
            else { return }
            index += 1
        }
    }

    // MARK: Handles

    /// Opens a disk; EBUSY if another client writes to it.
    public func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let disk = try disk(node)
        let isWriting = flags & OpenFlags.accessMask != OpenFlags.readOnly
        if isWriting, !disk.device.isWritable { throw .readOnlyFileSystem }
        let key = Key(channel: context.channel, handle: handle)
        try handles.withLock { handles throws(Errno) in
            if isWriting {
                for (other, open) in handles where open.isWriting && other != key {
                    if let range = try? self.disk(open.node).range, range.overlaps(disk.range) { throw .resourceBusy }
                }
            }
            handles[key] = Open(node: node, isWriting: isWriting)
        }
        context.opened = opened
    }

    /// Opens a disk by its name.
    public func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let found = try lookup(1, path, &context)
        try open(found.node, handle: handle, flags: flags, &context)
        return found.node
    }

    /// Closes a handle.
    public func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let key = Key(channel: context.channel, handle: handle)
        _ = handles.withLock { $0.removeValue(forKey: key) }
    }

    /// Closes what came through the channel.
    public func channelEnded(_ channel: UInt32) {
        handles.withLock { handles in handles = handles.filter { $0.key.channel != channel } }
    }

    private func writableDisk(_ node: UInt64, _ handle: UInt64, _ context: CallContext) throws(Errno) -> Disk {
        let key = Key(channel: context.channel, handle: handle)
        guard let open = handles.withLock({ $0[key] }), open.isWriting, open.node == node else {
            throw .badFileDescriptor
        }
        return try disk(node)
    }

    // MARK: Contents

    /// Reads from the disk.
    public func read(
        _ node: UInt64, handle: UInt64, at offset: UInt64, into buffer: inout MutableRawSpan, flags: UInt32,
        _ context: inout CallContext
    ) throws(Errno) -> Int {
        let device = try disk(node).device
        let size = device.byteCount
        guard offset < size else { return 0 }
        let count = Int(min(UInt64(buffer.byteCount), size - offset))
        var wanted = buffer._mutatingExtracting(first: count)
        do { try device.read(at: offset, into: &wanted) } catch { throw error.errno }
        return count
    }

    /// Writes to the disk.
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        // Comes here only if the payload lies in the request record: short writes.
        let copy = AlignedBuffer(copying: bytes)
        return try write(node, handle: handle, at: offset, BufferSlice(copy), &context)
    }

    /// Writes to the disk.
    public func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ slice: BufferSlice, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let device = try writableDisk(node, handle, context).device
        if context.isScattered { return try write(slice, pieces: offset, to: device, context) }
        guard offset < device.byteCount else { throw .noSpace }
        let count = Int(min(UInt64(slice.byteCount), device.byteCount - offset))
        let start = slice.range.lowerBound
        do {
            let bytes = BufferSlice(slice.buffer, start..<(start + count))
            if context.isAfterFlush {
                try device.writeAfterFlush(at: offset, bytes)
            } else {
                try device.write(at: offset, [bytes])
            }
        } catch { throw error.errno }
        return count
    }

    /// Writes the pieces of a payload.
    private func write(
        _ payload: BufferSlice, pieces count: UInt64, to device: any BlockDevice, _ context: CallContext
    ) throws(Errno) -> Int {
        guard payload.byteCount > ScatterTable.byteCount else { throw .invalidArgument }
        let copy = AlignedBuffer(copying: payload.bytes.extracting(first: ScatterTable.byteCount))
        guard let table = ScatterTable(decoding: copy.bytes, count: count, payloadByteCount: payload.byteCount) else {
            throw .invalidArgument
        }
        let start = payload.range.lowerBound
        var slices = table.pieces.map { piece in
            BufferSlice(payload.buffer, (start + piece.range.lowerBound)..<(start + piece.range.upperBound))
        }
        do {
            if context.isAfterFlush, let last = slices.popLast(), let place = table.pieces.last?.offset {
                let others = zip(table.pieces, slices).map { BlockExtent($0.offset, [$1]) }
                try device.write(others, thenAfterFlush: place, last)
            } else {
                try device.write(zip(table.pieces, slices).map { BlockExtent($0.offset, [$1]) })
            }
        } catch { throw error.errno }
        return payload.byteCount - ScatterTable.byteCount
    }

    /// Returns when everything written before is durable.
    public func synchronize(_ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext) throws(Errno)
    {
        guard node != 1 else { return }
        let device = try disk(node).device
        guard device.isWritable else { return }
        do { try device.flush() } catch { throw error.errno }
    }

    /// Gives up the contents of a range (FALLOC_FL_PUNCH_HOLE), or makes it zero (FALLOC_FL_ZERO_RANGE).
    public func allocate(
        _ node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) {
        let keepSize: UInt32 = 1
        let punchHole: UInt32 = 2
        let zeroRange: UInt32 = 16
        guard mode == punchHole | keepSize || mode | keepSize == zeroRange | keepSize else { throw .notSupported }
        let device = try writableDisk(node, handle, context).device
        do throws(BlockDeviceError) {
            if mode & punchHole != 0 {
                try device.discard(at: offset, byteCount: count)
            } else {
                try device.writeZeros(at: offset, byteCount: count)
            }
        } catch { throw error.errno }
    }

    /// The size of the disk.
    public func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        FileSystemFigures(
            blockSize: 512, blocks: whole.range.upperBound / 512,
            files: UInt64(known.withLock { $0?.count } ?? 1))
    }

    /// Makes everything durable.
    public func finish() throws(Errno) {
        guard faults.isWritable else { return }
        do { try faults.flush() } catch { throw error.errno }
    }

    // MARK: Settings

    /// Sets faults.
    public func set(_ fields: [ControlMessage.Field]) throws(Errno) { try faults.set(fields) }

    /// The faults that are set, and the sizes of the disks.
    public func report() -> [ControlMessage.Field] {
        // Without a look at the disk, which may be away.
        let disks = known.withLock { $0 } ?? [whole]
        return faults.report() + more()
            + disks.map { ControlMessage.Field("disk-\($0.name)", "\($0.device.byteCount)") }
    }
}

extension RawSpan {
    /// Whether the bytes are the text's.
    fileprivate func isEqual(to text: String) -> Bool {
        guard byteCount == text.utf8.count else { return false }
        for (index, unit) in text.utf8.enumerated() {
            if unsafe unsafeLoad(fromByteOffset: index, as: UInt8.self) != unit { return false }
        }
        return true
    }
}
