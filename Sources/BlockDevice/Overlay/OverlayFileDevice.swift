import Platform
import SystemPackage

/// A device whose writes are kept in a file of their own, over a base that is never written: for trying something on an image, or
/// many systems on one. Its format stands in OverlayFormat.swift.
///
/// Safe against a loss of power as a disk is: what was flushed is there; of what was written since, any part.
public final class OverlayFileDevice: BlockDevice {
    /// What is being written for the first time; the lock is held while it is.
    private struct Growth {
        /// Places that a loss of power has left without a block.
        var holes: [Int]
        /// The first place that was never used.
        var next: Int
    }

    /// The size in bytes: the base's.
    public let byteCount: UInt64
    /// Whether the overlay's file may be written.
    public var isWritable: Bool { file.isWritable }
    private let base: any BlockDevice
    private let file: any BlockDevice
    private let id: UInt64
    private let unflushed: UnflushedBlocks
    private let map: Locked<OverlayMap>
    private let growth: Locked<Growth>
    private let flushing = Locked(())

    private static let blockBytes = UInt64(OverlayFormat.blockBytes)
    /// A file grows by at least this much, as each growth is made durable.
    private static let growthSegments = 8

    /// Opens an overlay, or makes one if the file is empty.
    ///
    /// - Parameters:
    ///   - base: what shows where nothing was written. It must not change as long as there is the overlay.
    ///   - file: can be resized; nobody else may use it.
    ///   - unflushed: what an earlier process wrote and did not flush; without, what it wrote since is lost.
    /// - Throws: `BlockDeviceError.unusable` if the file is no overlay, one of another base, or damaged.
    public init(
        over base: any BlockDevice, in file: any BlockDevice, unflushed: UnflushedBlocks
    ) throws(BlockDeviceError) {
        let blockCount = (base.byteCount + Self.blockBytes - 1) / Self.blockBytes
        guard blockCount <= OverlayFormat.maximumBlocks else { throw .unusable("the base is too large for an overlay") }
        self.base = base
        self.file = file
        self.unflushed = unflushed
        byteCount = base.byteCount
        let header = try Self.header(base, file)
        id = header.id
        var map = OverlayMap(blockCount: blockCount)
        let growth = try Self.load(file, header, blockCount, unflushed, into: &map)
        self.map = Locked(map)
        self.growth = Locked(growth)
    }

    /// Blocks of 4 KiB that the overlay holds.
    public var changedBlockCount: Int { map.withLock { $0.count } }

    // MARK: Opening

    private static func header(
        _ base: any BlockDevice, _ file: any BlockDevice
    ) throws(BlockDeviceError) -> OverlayHeader {
        let block = AlignedBuffer(byteCount: OverlayFormat.blockBytes)
        let fingerprint = try fingerprint(of: base)
        let known = Int(min(file.byteCount, blockBytes))
        if known > 0 { try file.read(at: 0, into: block, 0..<known) }
        if let header = OverlayHeader(decoding: block) {
            guard header.baseByteCount == base.byteCount, header.baseFingerprint == fingerprint else {
                throw .unusable("the overlay was made over another image, or this one was changed since")
            }
            return header
        }
        // A header that the power didn't let come through leaves zeros, or nothing.
        let wasNeverFinished = file.byteCount <= blockBytes && isZero(block)
        guard wasNeverFinished, file.isWritable else { throw .unusable("the file is no overlay") }
        let header = OverlayHeader(
            baseByteCount: base.byteCount, id: .random(in: 1 ... .max), baseFingerprint: fingerprint)
        header.encode(into: block)
        if file.byteCount < blockBytes { try file.resize(to: blockBytes) }
        try file.write(at: 0, block)
        try file.flush()
        return header
    }

    private static func isZero(_ block: AlignedBuffer) -> Bool {
        let bytes = block.bytes
        return (0..<block.byteCount).allSatisfy { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) == 0 }
    }

    /// Of the start of the base and of each partition, where tables and headers of file systems are: a base that was written
    /// meanwhile, although there is an overlay, is found by that.
    private static func fingerprint(of base: any BlockDevice) throws(BlockDeviceError) -> UInt64 {
        let buffer = AlignedBuffer(byteCount: 2 << 20)
        var hash = base.byteCount
        for start in [0] + (try PartitionTable.read(base)).map(\.offset) where start < base.byteCount {
            let count = Int(min(base.byteCount - start, UInt64(buffer.byteCount)))
            try base.read(at: start, into: buffer, 0..<count)
            hash = OverlayHash.hash(buffer.bytes.extracting(first: count), from: hash)
        }
        return hash
    }

    private static func load(
        _ file: any BlockDevice, _ header: OverlayHeader, _ blockCount: UInt64, _ unflushed: UnflushedBlocks,
        into map: inout OverlayMap
    ) throws(BlockDeviceError) -> Growth {
        let segments = OverlayFormat.segmentCount(byteCount: file.byteCount)
        let placeCount = segments * OverlayFormat.segmentBlocks
        guard placeCount < Int(UInt32.max) else { throw .unusable("the overlay is too large") }
        var isUsed = [Bool](repeating: false, count: placeCount)
        let table = AlignedBuffer(byteCount: OverlayFormat.blockBytes)
        for segment in 0..<segments {
            try file.read(at: OverlayFormat.tableOffset(segment), into: table, 0..<OverlayFormat.blockBytes)
            for index in 0..<OverlayFormat.segmentBlocks {
                let entry = unsafe table.bytes.unsafeLoad(
                    fromByteOffset: index * OverlayFormat.entryBytes, as: UInt64.self)
                guard entry != 0 else { continue }
                let place = segment * OverlayFormat.segmentBlocks + index
                guard
                    let block = OverlayFormat.block(
                        ofEntry: UInt64(littleEndian: entry), place: place, id: header.id),
                    block < blockCount, map[block] == nil
                else { throw .unusable("the overlay is damaged: entry \(index) of table \(segment)") }
                map.set(block, UInt32(place))
                isUsed[place] = true
            }
        }
        for (block, place) in try unflushed.notes(upTo: unflushed.tail) {
            guard block < blockCount, let place = Int(exactly: place), place < placeCount else {
                throw .unusable("the notes of what was not flushed are damaged")
            }
            // A flush that was broken off has it in the tables already.
            if map[block] == place { continue }
            guard map[block] == nil, !isUsed[place] else {
                throw .unusable("the notes of what was not flushed are damaged")
            }
            map.set(block, UInt32(place))
            isUsed[place] = true
        }
        let next = (isUsed.lastIndex(of: true) ?? -1) + 1
        return Growth(holes: (0..<next).filter { !isUsed[$0] }, next: next)
    }

    // MARK: Access

    /// Calls the body for each part of a range that lies together: with its place if the overlay has it.
    private func forEachRun(
        _ offset: UInt64, _ length: UInt64,
        _ body: (_ position: UInt64, _ count: UInt64, _ place: Int?) throws(BlockDeviceError) -> Void
    ) throws(BlockDeviceError) {
        var position = offset
        let end = offset + length
        while position < end {
            let block = position / Self.blockBytes
            let limit = (end - 1) / Self.blockBytes - block + 1
            let run = map.withLock { $0.run(from: block, limit: limit) }
            let count = min(end, (block + run.count) * Self.blockBytes) - position
            try body(position, count, run.place)
            position += count
        }
    }

    /// Where the byte at a position of the device is in the file.
    private static func fileOffset(_ position: UInt64, _ place: Int) -> UInt64 {
        OverlayFormat.offset(ofPlace: place) + position % blockBytes
    }

    /// Fills the buffer from the overlay where it was written, from the base elsewhere.
    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) throws(BlockDeviceError) {
        let length = UInt64(buffer.byteCount)
        try checkRange(offset, length, .read)
        var done = 0
        while done < buffer.byteCount {
            let position = offset + UInt64(done)
            let block = position / Self.blockBytes
            let limit = (offset + length - 1) / Self.blockBytes - block + 1
            let run = map.withLock { $0.run(from: block, limit: limit) }
            let count = Int(min(offset + length, (block + run.count) * Self.blockBytes) - position)
            var part = buffer._mutatingExtracting(done..<(done + count))
            if let place = run.place {
                try file.read(at: Self.fileOffset(position, place), into: &part)
            } else {
                try base.read(at: position, into: &part)
            }
            done += count
        }
    }

    /// Writes over what the overlay has; gives a place to what it hasn't.
    public func write(at offset: UInt64, _ buffers: [BufferSlice]) throws(BlockDeviceError) {
        try checkWritable()
        let length = try checkedLength(at: offset, buffers)
        guard length > 0 else { return }
        var isWhole = true
        try forEachRun(offset, length) { _, _, place throws(BlockDeviceError) in if place == nil { isWhole = false } }
        var rest = BufferQueue(buffers)
        guard !isWhole else {
            try forEachRun(offset, length) { position, count, place throws(BlockDeviceError) in
                guard let place else { return }
                try file.write(at: Self.fileOffset(position, place), rest.take(Int(count)))
            }
            return
        }
        // Two writers of the same block must not give it two places.
        try growth.withLock { growth throws(BlockDeviceError) in
            try forEachRun(offset, length) { position, count, place throws(BlockDeviceError) in
                if let place {
                    try file.write(at: Self.fileOffset(position, place), rest.take(Int(count)))
                } else {
                    try add(position, count, &rest, &growth)
                }
            }
        }
    }

    /// Writes blocks that the base has had so far. They count when their contents are in the file, not before: a write that fails
    /// leaves the base's.
    private func add(
        _ start: UInt64, _ length: UInt64, _ rest: inout BufferQueue, _ growth: inout Growth
    ) throws(BlockDeviceError) {
        var position = start
        let end = start + length
        while position < end {
            let block = position / Self.blockBytes
            let inside = position % Self.blockBytes
            let blockEnd = min((block + 1) * Self.blockBytes, byteCount)
            if inside != 0 || end < blockEnd || blockEnd % Self.blockBytes != 0 {
                // A part of a block, or the base's last one, that isn't whole.
                let count = Int(min(end, blockEnd) - position)
                let whole = AlignedBuffer(byteCount: OverlayFormat.blockBytes)
                let known = Int(blockEnd - block * Self.blockBytes)
                try base.read(at: block * Self.blockBytes, into: whole, 0..<known)
                var target = Int(inside)
                for slice in rest.take(count) {
                    whole.copyBytes(from: slice.bytes, at: target)
                    target += slice.byteCount
                }
                let place = try places(1, &growth).first
                try file.write(at: OverlayFormat.offset(ofPlace: place), whole)
                publish(block, place, 1, &growth)
                position += UInt64(count)
            } else {
                let wanted = Int((end - position) / Self.blockBytes)
                let found = try places(wanted, &growth)
                try file.write(
                    at: OverlayFormat.offset(ofPlace: found.first), rest.take(found.count * OverlayFormat.blockBytes))
                publish(block, found.first, found.count, &growth)
                position += UInt64(found.count) * Self.blockBytes
            }
        }
    }

    /// Places for up to `wanted` blocks, one after another in one segment, and room in the notes for them. They stay free until they
    /// are published.
    private func places(_ wanted: Int, _ growth: inout Growth) throws(BlockDeviceError) -> (first: Int, count: Int) {
        if unflushed.room < OverlayFormat.segmentBlocks { try flush() }
        if let hole = growth.holes.last { return (hole, 1) }
        let count = min(wanted, OverlayFormat.segmentBlocks - growth.next % OverlayFormat.segmentBlocks)
        let segment = growth.next / OverlayFormat.segmentBlocks
        if OverlayFormat.segmentCount(byteCount: file.byteCount) <= segment {
            guard growth.next + count < Int(UInt32.max) else {
                throw .io(.noSpace, offset: 0, length: wanted * OverlayFormat.blockBytes, operation: .write)
            }
            let more = max(Self.growthSegments, segment / 8)
            try file.resize(to: OverlayFormat.tableOffset(segment + more))
        }
        return (growth.next, count)
    }

    private func publish(_ block: UInt64, _ place: Int, _ count: Int, _ growth: inout Growth) {
        if growth.holes.last == place { growth.holes.removeLast() } else { growth.next = place + count }
        for index in 0..<count { unflushed.append(block: block + UInt64(index), place: place + index) }
        map.withLock { map in
            for index in 0..<count { map.set(block + UInt64(index), UInt32(place + index)) }
        }
    }

    /// Contents first, then the entries that say that they are there.
    public func flush() throws(BlockDeviceError) {
        guard isWritable else { return }
        try flushing.withLock { _ throws(BlockDeviceError) in
            let end = unflushed.tail
            try file.flush()
            let notes = try unflushed.notes(upTo: end)
            guard !notes.isEmpty else { return }
            let bySegment = Dictionary(grouping: notes) { Int($0.place) / OverlayFormat.segmentBlocks }
            let table = AlignedBuffer(byteCount: OverlayFormat.blockBytes)
            for (segment, notes) in bySegment.sorted(by: { $0.key < $1.key }) {
                try file.read(at: OverlayFormat.tableOffset(segment), into: table, 0..<OverlayFormat.blockBytes)
                var bytes = table.mutableBytes
                for note in notes {
                    let place = Int(note.place)
                    bytes.storeBytes(
                        of: OverlayFormat.entry(block: note.block, place: place, id: id).littleEndian,
                        toByteOffset: place % OverlayFormat.segmentBlocks * OverlayFormat.entryBytes, as: UInt64.self)
                }
                try file.write(at: OverlayFormat.tableOffset(segment), table)
            }
            try file.flush()
            unflushed.drop(before: end)
        }
    }

    /// Blocks of the base that a call of `discard` can hide: each needs an entry, although its contents need nothing.
    private static let discardLimit: UInt64 = 1 << 14

    /// Gives up the contents of blocks that the overlay has; they keep their places. Blocks of the base get places with nothing in
    /// them, as far as they aren't too many.
    public func discard(at offset: UInt64, byteCount length: UInt64) throws(BlockDeviceError) {
        try checkWritable()
        try checkRange(offset, length, .discard)
        try growth.withLock { growth throws(BlockDeviceError) in
            var hidden: UInt64 = 0
            try forEachRun(offset, length) { _, count, place throws(BlockDeviceError) in
                if place == nil { hidden += count / Self.blockBytes + 1 }
            }
            guard hidden <= Self.discardLimit else { throw .unsupported(.discard) }
            try forEachRun(offset, length) { position, count, place throws(BlockDeviceError) in
                if let place {
                    try clear(Self.fileOffset(position, place), count)
                } else {
                    try hide(position, count, &growth)
                }
            }
        }
    }

    private func clear(_ offset: UInt64, _ length: UInt64) throws(BlockDeviceError) {
        do throws(BlockDeviceError) {
            try file.discard(at: offset, byteCount: length)
        } catch .unsupported {
            try file.writeZeros(at: offset, byteCount: length)
        }
    }

    /// Makes blocks zero that the base has had so far.
    private func hide(_ start: UInt64, _ length: UInt64, _ growth: inout Growth) throws(BlockDeviceError) {
        var position = start
        let end = start + length
        while position < end {
            let block = position / Self.blockBytes
            let blockEnd = min((block + 1) * Self.blockBytes, byteCount)
            if position % Self.blockBytes != 0 || end < blockEnd || blockEnd % Self.blockBytes != 0 {
                let count = Int(min(end, blockEnd) - position)
                var zeros = BufferQueue([BufferSlice(AlignedBuffer(byteCount: OverlayFormat.blockBytes), 0..<count)])
                try add(position, UInt64(count), &zeros, &growth)
                position += UInt64(count)
            } else {
                let found = try places(Int((end - position) / Self.blockBytes), &growth)
                let count = UInt64(found.count) * Self.blockBytes
                try clear(OverlayFormat.offset(ofPlace: found.first), count)
                publish(block, found.first, found.count, &growth)
                position += count
            }
        }
    }
}
