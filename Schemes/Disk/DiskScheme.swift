import BlockDevice
import Platform
import SchemeKit
import SystemPackage

/// Disks and partitions as files. The names are Redox's: `0` is the whole disk, `0p0` its first partition.
///
/// A disk is opened for writing by one client at a time: two file systems on one disk destroy it. Reads and writes go straight
/// between the channel's memory and the device.
final class DiskScheme: NodeScheme {
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

    let isSerial = false
    private static let firstNode: UInt64 = 2
    private let faults: FaultyDevice
    private let disks: [Disk]
    private let handles = Locked<[Key: Open]>([:])

    /// The disk and its partitions. A table that can't be read, or isn't there, leaves the whole disk.
    init(_ device: FaultyDevice) {
        faults = device
        var disks = [Disk(name: "0", device: device, range: 0..<device.byteCount)]
        for (index, partition) in ((try? PartitionTable.read(device)) ?? []).enumerated() {
            guard
                let part = try? SubrangeDevice(device, offset: partition.offset, byteCount: partition.byteCount)
            else { continue }
            disks.append(
                Disk(
                    name: "0p\(index)", device: part,
                    range: partition.offset..<(partition.offset + partition.byteCount)))
        }
        self.disks = disks
    }

    private func disk(_ node: UInt64) throws(Errno) -> Disk {
        guard node >= Self.firstNode, node - Self.firstNode < UInt64(disks.count) else { throw .staleNFSFileHandle }
        return disks[Int(node - Self.firstNode)]
    }

    private func attributes(_ node: UInt64, _ disk: Disk) -> NodeAttributes {
        NodeAttributes(
            node: node, mode: ModeBits.regular | (disk.device.isWritable ? 0o600 : 0o400), size: disk.device.byteCount,
            blocks: disk.device.byteCount / 512, attributesValid: 1000, nameValid: 1000)
    }

    // MARK: Names

    func lookup(_ parent: UInt64, _ name: RawSpan, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        guard parent == 1 else { throw .notDirectory }
        for (index, disk) in disks.enumerated() where name.isEqual(to: disk.name) {
            return attributes(Self.firstNode + UInt64(index), disk)
        }
        throw .noSuchFileOrDirectory
    }

    func attributes(_ node: UInt64, handle: UInt64, _ context: inout CallContext) throws(Errno) -> NodeAttributes {
        if node == 1 {
            return NodeAttributes(node: 1, mode: ModeBits.directory | 0o555, links: 2, attributesValid: 1000)
        }
        return attributes(node, try disk(node))
    }

    func setAttributes(
        _ node: UInt64, handle: UInt64, _ changes: AttributeChangeSet, _ context: inout CallContext
    ) throws(Errno) -> NodeAttributes {
        // A disk has its size; opening with O_TRUNC is no error on a block device either.
        if changes.mode != nil || changes.uid != nil || changes.gid != nil { throw .notPermitted }
        return try attributes(node, handle: handle, &context)
    }

    func readDirectory(
        _ node: UInt64, handle: UInt64, from position: UInt64, withAttributes: Bool,
        into listing: inout DirectoryListing,
        _ context: inout CallContext
    ) throws(Errno) {
        guard node == 1 else { throw .notDirectory }
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

    func open(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
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
        context.opened = [.directIO, .parallelDirectWrites, .noFlush]
    }

    func open(
        path: RawSpan, handle: UInt64, flags: UInt32, mode: UInt32, _ context: inout CallContext
    ) throws(Errno) -> UInt64 {
        let found = try lookup(1, path, &context)
        try open(found.node, handle: handle, flags: flags, &context)
        return found.node
    }

    func close(_ node: UInt64, handle: UInt64, flags: UInt32, _ context: inout CallContext) throws(Errno) {
        let key = Key(channel: context.channel, handle: handle)
        _ = handles.withLock { $0.removeValue(forKey: key) }
    }

    func channelEnded(_ channel: UInt32) {
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

    func read(
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

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ bytes: RawSpan, flags: UInt32, _ context: inout CallContext
    ) throws(Errno) -> Int {
        // Comes here only if the payload lies in the request record: short writes.
        let copy = AlignedBuffer(copying: bytes)
        return try write(node, handle: handle, at: offset, BufferSlice(copy), &context)
    }

    func write(
        _ node: UInt64, handle: UInt64, at offset: UInt64, _ slice: BufferSlice, _ context: inout CallContext
    ) throws(Errno) -> Int {
        let device = try writableDisk(node, handle, context).device
        guard offset < device.byteCount else { throw .noSpace }
        let count = Int(min(UInt64(slice.byteCount), device.byteCount - offset))
        let start = slice.range.lowerBound
        do {
            try device.write(at: offset, [BufferSlice(slice.buffer, start..<(start + count))])
        } catch { throw error.errno }
        return count
    }

    func synchronize(_ node: UInt64, handle: UInt64, dataOnly: Bool, _ context: inout CallContext) throws(Errno) {
        guard node != 1 else { return }
        let device = try disk(node).device
        guard device.isWritable else { return }
        do { try device.flush() } catch { throw error.errno }
    }

    func allocate(
        _ node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, count: UInt64, _ context: inout CallContext
    ) throws(Errno) {
        let punchHoleAndKeepSize: UInt32 = 3
        guard mode == punchHoleAndKeepSize else { throw .notSupported }
        let device = try writableDisk(node, handle, context).device
        do { try device.discard(at: offset, byteCount: count) } catch { throw error.errno }
    }

    func figures(_ node: UInt64, _ context: inout CallContext) throws(Errno) -> FileSystemFigures {
        FileSystemFigures(blockSize: 512, blocks: disks[0].device.byteCount / 512, files: UInt64(disks.count))
    }

    func finish() throws(Errno) {
        guard faults.isWritable else { return }
        do { try faults.flush() } catch { throw error.errno }
    }

    // MARK: Settings

    func set(_ fields: [ControlMessage.Field]) throws(Errno) { try faults.set(fields) }

    func report() -> [ControlMessage.Field] {
        faults.report() + disks.map { ControlMessage.Field("disk-\($0.name)", "\($0.device.byteCount)") }
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
