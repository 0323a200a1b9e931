import Platform

/// A write as it was made.
public struct RecordedWrite: Sendable {
    /// A disk writes sectors of this many bytes as a whole or not at all.
    public static let sectorByteCount = 512

    /// Where, in bytes.
    public let offset: UInt64
    /// What.
    public let bytes: AlignedBuffer

    /// The number of sectors that the write touches, counted from its own start.
    public var sectorCount: Int {
        (bytes.byteCount + Self.sectorByteCount - 1) / Self.sectorByteCount
    }

    /// The bytes of the write that belong to a sector.
    public func sectorRange(_ sector: Int) -> Range<Int> {
        let start = sector * Self.sectorByteCount
        return start..<min(start + Self.sectorByteCount, bytes.byteCount)
    }
}

/// Writes and flushes in the order in which the device got them.
struct WriteRecording: Sendable {
    enum Entry: Sendable {
        case write(RecordedWrite)
        case flush
        case resize(UInt64)
    }

    var entries: [Entry] = []
}

/// What becomes of a write that was not flushed when the power went.
public enum WriteFate: Equatable, Sendable {
    /// Nothing of it is on the medium.
    case lost
    /// All of it is.
    case kept
    /// Of each sector either the new or the old contents: true means new. Sectors beyond the array are old.
    case torn([Bool])
}

/// The contents of a disk after a loss of power.
public struct CrashState: Sendable {
    /// The disk; it may be read and written like any other, nobody else sees it.
    public let device: OverlayDevice
    /// How many recorded writes and flushes the disk had got.
    public let point: Int
    /// How many of them were not yet flushed.
    public let unflushedCount: Int
    /// The seed that gives the same state again at the same point.
    public let seed: UInt64
    /// The 4 KiB pages, by number, that may differ from what was flushed: two states of points between the same flushes
    /// are equal elsewhere.
    public let changedPages: [UInt64]

    /// How many recorded writes and flushes are on the medium for certain.
    public var flushedCount: Int { point - unflushedCount }
}

/// Every state that a loss of power may leave on a recorded disk.
///
/// At a point of the recording, everything before the last flush is on the medium; of the writes since then any subset
/// is, in any order, and each may be torn at sectors. Asking for points in rising order is cheap: a state costs the
/// unflushed writes.
///
///     entries  w w w F w w | w F w        | = point 6
///              durable ---  any            of w4, w5
public struct CrashStates: Sendable {
    private let recording: WriteRecording
    private let base: any BlockDevice

    // Everything up to the last flush before `point`, and the writes since.
    private var point = 0
    private var durable = PageMap()
    private var durableByteCount: UInt64
    private var unflushed: [RecordedWrite] = []
    private var durableDevice: OverlayDevice?

    init(recording: WriteRecording, over base: any BlockDevice) {
        self.recording = recording
        self.base = base
        durableByteCount = base.byteCount
    }

    /// Points are 0...lastPoint: the number of entries that the disk had got.
    public var lastPoint: Int { recording.entries.count }

    /// The writes that are not flushed at a point.
    public mutating func unflushedWrites(at point: Int) throws(BlockDeviceError) -> [RecordedWrite] {
        try move(to: point)
        return unflushed
    }

    /// A state that the seed chooses: 0 loses all unflushed writes, 1 keeps all, others draw.
    public mutating func state(at point: Int, seed: UInt64) throws(BlockDeviceError) -> CrashState {
        try move(to: point)
        var generator = SeededGenerator(seed: seed &* 0x2545_F491_4F6C_DD1D ^ UInt64(truncatingIfNeeded: point))
        var order = Array(unflushed.indices)
        let fates: [WriteFate]
        switch seed {
        case 0: fates = unflushed.map { _ in .lost }
        case 1: fates = unflushed.map { _ in .kept }
        default:
            fates = Self.drawFates(unflushed, &generator)
            if generator.chance(0.7) { order.shuffle(using: &generator) }
        }
        return try state(at: point, fates: fates, order: order, seed: seed)
    }

    /// The state with exactly these fates of the unflushed writes, applied in the given order of their indices.
    public mutating func state(
        at point: Int, fates: [WriteFate], order: [Int], seed: UInt64 = 0
    ) throws(BlockDeviceError) -> CrashState {
        try move(to: point)
        var pages = PageMap()
        let below = durableContents()
        for index in order where unflushed.indices.contains(index) && fates.indices.contains(index) {
            let write = unflushed[index]
            switch fates[index] {
            case .lost: continue
            case .kept: try pages.write(at: write.offset, write.bytes.bytes, over: below)
            case .torn(let sectors):
                for (sector, isNew) in sectors.prefix(write.sectorCount).enumerated() where isNew {
                    let range = write.sectorRange(sector)
                    try pages.write(
                        at: write.offset + UInt64(range.lowerBound), write.bytes.bytes(range), over: below)
                }
            }
        }
        return CrashState(
            device: OverlayDevice(over: below, pages: pages, byteCount: durableByteCount, isWritable: true),
            point: point, unflushedCount: unflushed.count, seed: seed, changedPages: pages.numbers)
    }

    private mutating func durableContents() -> OverlayDevice {
        if let durableDevice { return durableDevice }
        let device = OverlayDevice(over: base, pages: durable, byteCount: durableByteCount, isWritable: false)
        durableDevice = device
        return device
    }

    private mutating func move(to wanted: Int) throws(BlockDeviceError) {
        let wanted = min(max(wanted, 0), lastPoint)
        if wanted < point {
            point = 0
            durable = PageMap()
            durableByteCount = base.byteCount
            unflushed = []
            durableDevice = nil
        }
        while point < wanted {
            switch recording.entries[point] {
            case .write(let write): unflushed.append(write)
            case .flush: try settle()
            case .resize(let byteCount):
                try settle()
                try durable.resize(from: durableByteCount, to: byteCount, over: base)
                durableByteCount = byteCount
            }
            point += 1
        }
    }

    /// Puts the unflushed writes on the medium.
    private mutating func settle() throws(BlockDeviceError) {
        durableDevice = nil
        for write in unflushed { try durable.write(at: write.offset, write.bytes.bytes, over: base) }
        unflushed.removeAll(keepingCapacity: true)
    }

    /// Disks lose power in different ways; each draw takes one way for all writes.
    private static func drawFates(_ writes: [RecordedWrite], _ generator: inout SeededGenerator) -> [WriteFate] {
        if writes.isEmpty { return [] }
        let one = Int.random(in: writes.indices, using: &generator)
        switch Int.random(in: 0..<6, using: &generator) {
        case 0:  // The first ones in order, the next torn.
            return writes.indices.map { $0 < one ? .kept : $0 == one ? tear(writes[$0], &generator) : .lost }
        case 1:  // All but one.
            return writes.indices.map { $0 == one ? .lost : .kept }
        case 2:  // Only one.
            return writes.indices.map { $0 == one ? .kept : .lost }
        case 3:  // All, one of them torn.
            return writes.indices.map { $0 == one ? tear(writes[$0], &generator) : .kept }
        default:  // Any subset, each write whole or torn.
            let keep = Double.random(in: 0...1, using: &generator)
            let tearing = Double.random(in: 0...0.5, using: &generator)
            return writes.map { write in
                if !generator.chance(keep) { return .lost }
                return generator.chance(tearing) ? tear(write, &generator) : .kept
            }
        }
    }

    private static func tear(_ write: RecordedWrite, _ generator: inout SeededGenerator) -> WriteFate {
        let count = write.sectorCount
        if generator.chance(0.5) {
            let kept = Int.random(in: 0...count, using: &generator)
            return .torn((0..<count).map { $0 < kept })
        }
        return .torn((0..<count).map { _ in generator.chance(0.5) })
    }
}
